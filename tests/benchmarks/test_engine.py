"""What the engine costs per segment when training costs nothing: asked, keyed, run, journaled, stored, told.

python -m pytest tests/benchmarks --benchmark-enable --benchmark-only
"""

import itertools
import time
from pathlib import Path

import pytest

from hpo.engine.session import run_study
from hpo.study.file import parse_study


def toy_study(population_size: int, intervals: int, optimizer: str = "pbt"):
    options = {"perturbation_interval": 1} if optimizer == "pbt" else {}
    return parse_study(
        {
            "study": {"name": "engine", "population_size": population_size, "budget": intervals, "interval": 1},
            "task": {"name": "toy"},
            "arms": [{"label": "arm", "optimizer": optimizer, **options}],
        }
    )


def seconds_per_segment(population_size: int, intervals: int, out: Path) -> float:
    spec = toy_study(population_size, intervals)
    start = time.perf_counter()
    run_study(spec, out=out, executor="serial", report=False)
    return (time.perf_counter() - start) / (population_size * intervals)


@pytest.mark.parametrize("optimizer", ["random_search", "pbt"])
@pytest.mark.parametrize(("population_size", "intervals"), [(10, 200), (100, 20), (1000, 4), (10_000, 2)])
def test_engine_cost_of_toy_segments(benchmark, tmp_path, optimizer, population_size, intervals):
    runs = itertools.count()
    spec = toy_study(population_size, intervals, optimizer)

    def run():
        return run_study(spec, out=tmp_path / str(next(runs)), executor="serial", report=False)

    result = benchmark.pedantic(run, rounds=3, warmup_rounds=0)
    segments = population_size * intervals
    if benchmark.enabled:
        benchmark.extra_info["ms per segment"] = round(1000 * benchmark.stats.stats.min / segments, 3)
    (arm,) = result.results["replicates"][0]["arms"].values()
    assert arm["charged_intervals"] == segments


def test_cost_per_segment_is_flat_in_the_population(benchmark, tmp_path):
    def both():
        rounds = range(2)
        small = min(seconds_per_segment(10, 200, tmp_path / f"small-{number}") for number in rounds)
        large = min(seconds_per_segment(10_000, 2, tmp_path / f"large-{number}") for number in rounds)
        return small, large

    small, large = benchmark.pedantic(both, rounds=1)
    benchmark.extra_info["ms per segment, population 10"] = round(1000 * small, 3)
    benchmark.extra_info["ms per segment, population 10,000"] = round(1000 * large, 3)
    assert large < 1.5 * small


def test_resume_of_a_finished_study(benchmark, tmp_path):
    spec = toy_study(100, 20)
    run_study(spec, out=tmp_path, executor="serial", report=False)
    result = benchmark.pedantic(
        run_study, args=(spec,), kwargs={"out": tmp_path, "executor": "serial", "report": False}
    )
    benchmark.extra_info["segments"] = 2000
    assert len(result.results["replicates"]) == 1
