"""What a decision costs: the tell after which a population of 22 exploits and explores, with at least 100 observations.

python -m pytest tests/benchmarks/test_decisions.py --benchmark-enable

Times are CPU times on one thread. PB2's models are fitted to the last 100 observations; those of the others are as large by
default. A quarter of the population is changed at each exploit, as in the papers; with `everyone`, all of it.
"""

import statistics
import time

import pytest
from configurations import built

from hpo.testing import SPACES, problem
from hpo.testing.driving import Run, evaluate
from hpo.testing.problems import never, smooth

POPULATION, INTERVALS, EARLY = 22, 12, 6
PBT = {"optimizer": "pbt", "selection": {"name": "truncation", "quantile_fraction": 0.25}}
DECISIONS = {
    "pb2": PBT | {"perturbation": {"name": "pb2", "window": 100}},
    "pb2_mix": PBT | {"perturbation": {"name": "pb2_mix", "window": 100}},
    "bg_pbt": {"optimizer": "bg_pbt"},
    "ipbt": {"optimizer": "ipbt"},
    "pb2, everyone": PBT | {"perturbation": {"name": "pb2", "window": 100}, "explore": "all"},
    "pb2_mix, everyone": PBT | {"perturbation": {"name": "pb2_mix", "window": 100}, "explore": "all"},
}


def milliseconds_of_exploits(table) -> list[float]:
    """Return the time of each exploit after the first few."""
    optimizer = built("decisions", table).start(problem(POPULATION, INTERVALS, SPACES["mixed"]))
    run, times = Run(), []
    segments = optimizer.ask(POPULATION)
    while segments:
        results = sorted(
            (evaluate(segment, run, smooth, never) for segment in segments), key=lambda r: r.segment.member
        )
        run.results |= {result.key: result for result in results}
        start = time.process_time()
        optimizer.tell(results)
        spent, interval = 1000 * (time.process_time() - start), segments[0].interval
        segments = optimizer.ask(POPULATION)
        if segments and interval >= EARLY:
            times.append(spent)
    return times


@pytest.mark.parametrize("name", DECISIONS)
def test_an_exploit_takes_at_most_a_quarter_of_a_second(benchmark, name):
    times = benchmark.pedantic(milliseconds_of_exploits, args=(DECISIONS[name],), rounds=1)
    benchmark.extra_info["ms per exploit"] = round(statistics.median(times), 1)
    benchmark.extra_info["slowest"] = round(max(times), 1)
    assert len(times) >= 4
    assert statistics.median(times) <= 250
