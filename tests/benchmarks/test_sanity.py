"""What the check before a new study costs.

python -m pytest tests/benchmarks --benchmark-enable --benchmark-only
"""

import pytest

from hpo.execution.sanity import sanity_check
from hpo.study.file import parse_study

MOST = {"digits": 0.2, "mnist": 1.0, "toy": 0.2}
"""Seconds, imports excluded."""


@pytest.mark.parametrize("task", MOST)
def test_the_check_before_a_study_takes_a_moment(benchmark, task):
    spec = parse_study(
        {
            "study": {"name": "tried", "population_size": 10, "budget": 10, "interval": 1},
            "task": {"name": task},
            "arms": [{"label": "pbt", "optimizer": "pbt", "perturbation_interval": 1}],
        }
    )
    benchmark.pedantic(sanity_check, args=(spec, spec.task), rounds=5, warmup_rounds=1)
    if benchmark.enabled:
        assert benchmark.stats.stats.min <= MOST[task]
