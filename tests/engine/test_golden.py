"""Golden results: when one of these changes, `ENGINE_VERSION` must be raised, or old stores would be believed wrongly.

Only a fixed context is used, never this machine's numerics or this checkout's sources, and the toy task alone, whose
arithmetic is the same on every machine.
"""

from fractions import Fraction

import pytest

from hpo.core.seeding import Streams
from hpo.core.segments import ENGINE_VERSION, KeyMaker, Segment, Split
from hpo.core.splits import interval_positions, search_split
from hpo.execution.jobs import Job
from hpo.execution.runner import Runner
from hpo.tasks.toy import Toy

CONTEXT = {
    "engine": ENGINE_VERSION,
    "task": {"name": "toy", "options": {"step_size": 0.01}, "data": None, "code": "1"},
    "numerics": {"numpy": "any"},
    "interval": Fraction(4),
    "seed": 3,
    "stream": 0,
}
KEYS = KeyMaker.of(CONTEXT)
HPARAMS = {"h0": 0.75, "h1": 0.125}
GOLDEN = [
    (
        0,
        "a4cbfcae6ff0fd340ed38c8997edc0458ae5bd9d9ee9bb840a32613df3bf88aa",
        {"score": "-0x1.18b433cab622cp-1", "theta0": "0x1.5834a11b60107p-1", "theta1": "0x1.246a61cbcb4d8p+0"},
        "a8b11c21fe95dc52587517551d08d6ba1032bb9096030fdacf3d3e2341eedddf",
    ),
    (
        1,
        "cc2ae13aed741ec28122545f56a1b7c1933a1ccdd1cda12a8d38694c60b16bd5",
        {"score": "-0x1.8b2f347a47ea5p-1", "theta0": "0x1.bc3fbcbed5e95p-1", "theta1": "0x1.186dcb6740f93p+0"},
        "87eb9edacb0558590341fd979f6b2a73c07119d42cf995fdd0a11bf25a8fb819",
    ),
]
VALIDATION = [0, 5, 8, 9]
ORDER = [4, 7, 0, 8]
DRAWN = {"h0": "0x1.e84abec6e6142p-1", "h1": "0x1.c3892d23354d9p-1"}
RAISE = "results changed for the same key: raise ENGINE_VERSION in hpo/core/segments.py, and put the new values here"


@pytest.fixture(scope="module")
def walked(tmp_path_factory):
    """Run a root and its child, by another member, and return (segment, key, outcome) of both."""
    task = Toy(training_noise=0.1, evaluation_noise=0.05)
    runner = Runner(task, CONTEXT["interval"], tmp_path_factory.mktemp("checkpoints"))
    out, parent, checkpoint = [], None, None
    for interval, member in enumerate([1, 2]):
        segment = Segment(member, parent, interval, HPARAMS)
        parent = KEYS(segment)
        outcome = runner(Job(parent, segment, CONTEXT["seed"], CONTEXT["stream"], checkpoint))
        assert outcome.error is None
        checkpoint = outcome.checkpoint
        out.append((segment, parent, outcome))
    return out


def test_the_version_is_the_one_that_these_values_are_of():
    assert ENGINE_VERSION == 1, RAISE


@pytest.mark.parametrize(("index", "key", "metrics", "digest"), GOLDEN)
def test_a_result_never_changes(walked, index, key, metrics, digest):
    _, found, outcome = walked[index]
    assert found == key, RAISE
    assert {name: value.hex() for name, value in outcome.metrics.items()} == metrics, RAISE
    assert outcome.checkpoint.digest == digest, RAISE


def test_splits_orders_and_draws_never_change():
    assert search_split(12, 4, 5)[1].tolist() == VALIDATION, RAISE
    assert interval_positions(1, Fraction(1, 2), 9, 5, Split.FULL).tolist() == ORDER, RAISE
    drawn = Toy().search_space.sample(Streams(5).generator("prior", member=2, shared=True))
    assert {name: value.hex() for name, value in drawn.items()} == DRAWN, RAISE
