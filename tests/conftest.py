import os
import sys
from pathlib import Path

import hypothesis

# pytest runs with --import-mode=importlib, which puts no test folder on the path.
sys.path.insert(0, str(Path(__file__).parent / "support"))

from helpers import cases

# By default Hypothesis fails a test when one example takes more than 200 ms, which any may on a busy machine. The examples are
# the same in every run of one version of a test, so that a failure comes from a change; HPO_TEST_RANDOM=1 looks for new ones.
hypothesis.settings.register_profile(
    "hpo", deadline=None, max_examples=cases(25), derandomize="HPO_TEST_RANDOM" not in os.environ
)
hypothesis.settings.load_profile("hpo")
