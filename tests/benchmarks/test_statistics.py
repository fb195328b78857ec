"""Comparisons that are large for one study: none takes a second.

python -m pytest tests/benchmarks/test_statistics.py --benchmark-enable
"""

import numpy as np
import pytest

from hpo.statistics import anytime_test, compare_many, compare_paired


@pytest.mark.parametrize("seeds", [8, 20, 30])
def test_thirty_arms(benchmark, seeds):
    generator = np.random.default_rng(seeds)
    arms = {str(i): generator.normal(size=seeds) for i in range(30)}
    assert len(benchmark(compare_many, arms).pairs) == 435
    assert benchmark.stats["min"] < 1


def test_three_hundred_pairs_one_after_another(benchmark):
    differences = np.random.default_rng(1).normal(0.1, 1.0, size=300)
    assert len(benchmark(anytime_test, differences).intervals) == 300
    assert benchmark.stats["min"] < 1


def test_forty_large_integers(benchmark):
    a, b = np.random.default_rng(2).integers(10**15, 10**16, size=(2, 40))
    assert not benchmark(compare_paired, a, b).exact
    assert benchmark.stats["min"] < 1
