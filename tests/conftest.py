import sys
from pathlib import Path

# pytest runs with --import-mode=importlib, which puts no test folder on the path: helpers.py and the tasks lie here.
sys.path.insert(0, str(Path(__file__).parent))
