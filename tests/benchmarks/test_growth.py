"""Time and memory per segment do not grow with a study: small and large ones side by side in one run.

python -m pytest tests/benchmarks/test_growth.py --benchmark-enable
"""

import time
import tracemalloc

import pytest

from hpo.engine.session import run_study
from hpo.study.file import parse_study

WARM, SMALL, LARGE = (10, 2), (20, 50), (200, 100)
"""Population and intervals: 20, 1,000 and 20,000 segments."""


def study(optimizer, population_size, intervals):
    options = {"perturbation_interval": 1} if optimizer == "pbt" else {}
    return parse_study(
        {
            "study": {"name": "growth", "population_size": population_size, "budget": intervals, "interval": 1},
            "task": {"name": "toy"},
            "arms": [{"label": "arm", "optimizer": optimizer, **options}],
        }
    )


def cost(optimizer, size, out):
    """Return the seconds on a core that a segment takes to run, and then to resume."""
    spec, seconds = study(optimizer, *size), []
    for _ in range(2):
        start = time.process_time()
        run_study(spec, out=out, executor="serial", report=False)
        seconds.append((time.process_time() - start) / (size[0] * size[1]))
    return seconds


def peak(optimizer, size, out):
    """Return the bytes that a segment takes while a study runs, at most."""
    spec = study(optimizer, *size)
    tracemalloc.start()
    try:
        run_study(spec, out=out, executor="serial", report=False)
        return tracemalloc.get_traced_memory()[1] / (size[0] * size[1])
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("optimizer", ["random_search", "pbt", "asha"])
def test_time_per_segment_is_flat_in_the_number_of_segments(benchmark, tmp_path, optimizer):
    def both():
        cost(optimizer, WARM, tmp_path / "warm")
        small = [cost(optimizer, SMALL, tmp_path / f"small-{number}") for number in range(3)]
        return [min(times) for times in zip(*small, strict=True)], cost(optimizer, LARGE, tmp_path / "large")

    (small, again), (large, large_again) = benchmark.pedantic(both, rounds=1)
    benchmark.extra_info |= {"run, ms": (1000 * small, 1000 * large), "resume, ms": (1000 * again, 1000 * large_again)}
    assert large < 1.5 * small
    assert large_again < 1.5 * again


@pytest.mark.parametrize("optimizer", ["random_search", "pbt", "asha"])
def test_memory_per_segment_is_flat_in_the_number_of_segments(benchmark, tmp_path, optimizer):
    def both():
        peak(optimizer, WARM, tmp_path / "warm")
        return peak(optimizer, SMALL, tmp_path / "small"), peak(optimizer, LARGE, tmp_path / "large")

    small, large = benchmark.pedantic(both, rounds=1)
    benchmark.extra_info["bytes"] = (round(small), round(large))
    assert large < 1.5 * small
