import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from driver import FLOATS, KEYS, MIXED, drive, level, problem, smooth

from hpo.core.errors import OptionError
from hpo.core.optimizer import Member
from hpo.core.segments import Result, Segment
from hpo.core.space import Categorical, Float, Int, SearchSpace
from hpo.optimizers.gaussian_process import FittedProcess, fit
from hpo.optimizers.observations import Encoding, improvements, standardised
from hpo.optimizers.pb2 import PB2
from hpo.optimizers.pbt import PBT
from hpo.optimizers.perturbation import NoPerturbation
from hpo.optimizers.selection import ExploitBest, Truncation

LINE = SearchSpace({"x": Float(0.0, 1.0)})


def told(member, interval, hparams, score, parent=None, diverged=False):
    return Result(f"{member}/{interval}", Segment(member, parent, interval, hparams), {}, score, diverged)


def lines(values, space=LINE):
    """Return a history of two-interval chains, one per member, that gain y with hyperparameters h: (h, y) pairs."""
    roots = [told(member, 0, hparams, 0.0) for member, (hparams, _) in enumerate(values)]
    return roots + [told(m, 1, hparams, y, parent=f"{m}/0") for m, (hparams, y) in enumerate(values)]


# --- the choice -------------------------------------------------------------------------------------------------------


def test_beta_by_hand():
    assert PB2().beta(1) == 0.2
    assert PB2().beta(100) == pytest.approx(0.2 + np.log(40))
    assert PB2(c1=1.0, c2=2.0).beta(10) == pytest.approx(1 + np.log(20))


def chosen(history, space, copied, options=None, seed=0):
    return (options or PB2())(copied, space, history, np.random.default_rng(seed))


PEAK = [({"x": x}, -((x - 0.7) ** 2)) for x in (0.0, 0.1, 0.25, 0.4, 0.5, 0.6, 0.8, 0.9, 1.0)]


def test_the_choice_is_the_maximum_of_the_bound_by_linear_algebra():
    history = lines(PEAK)
    copied = [Member(slot, "8/1", {"x": 0.0}, 0.0, False) for slot in (0, 1)]
    got = [hparams["x"] for hparams in chosen(history, LINE, copied).values()]
    process = fit(*((points := improvements(history, Encoding.of(LINE)))[0], standardised(points[1])))
    kernel = process.kernel
    grid = np.linspace(0, 1, 2001)

    def covariance(a, b):
        near = np.exp(-np.square(a[:, None, 1] - b[None, :, 1]) / (2 * kernel.length_scale**2))
        return kernel.variance * near * (1 - kernel.omega) ** (np.abs(a[:, None, 0] - b[None, :, 0]) / 2)

    def by_hand(pending):
        at = np.column_stack([np.full(2001, 2.0), grid])
        seen, there = points[0], np.vstack([points[0], [[2.0, x] for x in pending]])
        noise = process.noise
        weights = np.linalg.solve(covariance(seen, seen) + noise * np.eye(len(seen)), standardised(points[1]))
        cross = covariance(at, there)
        solved = np.linalg.solve(covariance(there, there) + noise * np.eye(len(there)), cross.T)
        deviation = np.sqrt(np.maximum(kernel.variance - (cross * solved.T).sum(axis=1), 0))
        beta = 0.2 + np.log(0.4 * 9)
        return grid[np.argmax(covariance(at, seen) @ weights + np.sqrt(beta) * deviation)]

    others = [hparams["x"] for hparams, _ in PEAK[2:]]  # they go on with what they have
    first = by_hand(others)
    assert got[0] == pytest.approx(first, abs=2e-3)
    assert got[1] == pytest.approx(by_hand([*others, got[0]]), abs=2e-3)
    assert abs(got[0] - 0.7) < 0.15


def test_members_that_are_changed_together_go_to_different_places():
    copied = [Member(slot, "8/1", {"x": 0.0}, 0.0, False) for slot in range(9)]
    xs = [hparams["x"] for hparams in chosen(lines(PEAK), LINE, copied).values()]
    assert len(set(xs)) == 9
    assert abs(xs[1] - xs[0]) > 0.1
    [alone] = chosen(lines(PEAK), LINE, copied[1:2]).values()
    assert alone["x"] != xs[1]


def test_until_enough_is_known_it_draws_from_the_prior():
    space = SearchSpace({"lr": Float(1e-4, 1.0, log=True), "depth": Int(1, 4), "kind": Categorical(("a", "b"))})
    own = {"lr": 1e-2, "depth": 3, "kind": "a"}
    copied = [Member(slot, "0/0", own, 0.0, False) for slot in range(2000)]
    for history in ([], lines([(own, 1.0), (own, 2.0)])):
        drawn = chosen(history, space, copied).values()
        assert np.mean([np.log10(h["lr"]) for h in drawn]) == pytest.approx(-2.0, abs=0.1)
        assert np.mean([h["depth"] for h in drawn]) == pytest.approx(2.5, abs=0.1)
        assert {h["kind"] for h in drawn} == {"a"}
    enough = chosen(lines([(own, 1.0), (own, 2.0), ({**own, "lr": 1.0}, 0.0)]), space, copied[:1])
    assert enough != chosen([], space, copied[:1])


def test_categoricals_and_fixed_ones_stay_as_inherited_and_types_are_kept():
    rng = np.random.default_rng(0)
    history = lines([(MIXED.sample(rng), float(y)) for y in rng.random(12)], MIXED)
    copied = [Member(slot, "0/1", MIXED.sample(rng), 0.0, False) for slot in range(4)]
    for member in copied:
        new = chosen(history, MIXED, copied)[member.slot]
        assert not MIXED.outside(new)
        assert isinstance(new["layers"], int)
        assert {n for n in MIXED if new[n] != member.hparams[n]} <= {"lr", "layers"}
        assert new["lr"] != member.hparams["lr"]


def test_a_hyperparameter_that_a_member_does_not_have_is_not_given_to_it():
    history = lines([({"lr": 0.1, "momentum": 0.5}, 1.0), ({"lr": 0.01}, 2.0), ({"lr": 0.5}, 0.0), ({"lr": 0.3}, 0.5)])
    [new] = chosen(history, FLOATS, [Member(0, "1/1", {"lr": 0.1}, 0.0, False)]).values()
    assert new.keys() == {"lr"}


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("level", [0.0, -1e6, 0.1])
def test_with_a_flat_posterior_it_stays_in_bounds(seed, level):
    rng = np.random.default_rng(seed)
    history = lines([(FLOATS.sample(rng), level) for _ in range(6)], FLOATS)
    copied = [Member(slot, "0/1", FLOATS.sample(rng), 0.0, False) for slot in range(3)]
    moved = chosen(history, FLOATS, copied, seed=seed)
    assert not any(FLOATS.outside(hparams) for hparams in moved.values())
    assert len({tuple(hparams.values()) for hparams in moved.values()}) > 1


@pytest.mark.parametrize("score", [level, smooth])
def test_searches_stay_in_bounds_whatever_diverges(score):
    options = PBT(0.5, ExploitBest(), PB2(), explore="all")
    run = drive(options, problem(4, 5, MIXED), score, diverges=lambda s: s.member == 0 and s.interval == 2)
    assert run.counts["boundary_hits"] == 0
    assert len(run.segments) == 20


def test_only_the_latest_improvements_in_the_window_count():
    old = [({"x": x}, 10 * x) for x in (0.0, 0.3, 0.6, 1.0)]
    copied = [Member(20, "8/1", {"x": 0.0}, 0.0, False)]
    late = lines(PEAK)
    early = [
        told(10 + m, i, h, y * i, parent=f"{10 + m}/0" if i else None) for i in (0, 1) for m, (h, y) in enumerate(old)
    ]
    windowed = chosen(early + late, LINE, copied, PB2(window=9))
    assert windowed != chosen(early + late, LINE, copied)


@pytest.mark.parametrize("bad", [{"c1": -1.0}, {"c1": np.nan}, {"c2": 0.0}, {"c2": np.inf}, {"window": 1}])
def test_options_that_mean_nothing_are_refused(bad):
    with pytest.raises(OptionError, match=next(iter(bad))):
        PB2(**bad)


# --- whole searches --------------------------------------------------------------------------------------------------


class Moving:
    """A score that grows by 1 - 4 (x - x*)² an interval, where the best x* wanders from 0.1 to 0.9: only a schedule follows."""

    def __init__(self, intervals):
        self.intervals, self.totals = intervals, {None: 0.0}

    def __call__(self, segment):
        best = 0.1 + 0.8 * segment.interval / (self.intervals - 1)
        total = self.totals[segment.parent] + 1 - 4 * (segment.hparams["x"] - best) ** 2
        self.totals[KEYS(segment)] = total
        return total


@pytest.mark.parametrize("seed", range(3))
def test_where_only_a_moving_schedule_helps_it_improves_over_none(seed):
    found = {}
    for perturbation in (PB2(), NoPerturbation()):
        of = problem(8, 12, LINE, seed=seed)
        run = drive(PBT(0.5, Truncation(0.25), perturbation), of, Moving(12))
        found[type(perturbation)] = run.results[run.best].score
    assert found[PB2] > found[NoPerturbation] + 0.1


def asked():
    """Return every hyperparameter of a search, to the last bit."""
    run = drive(PBT(0.5, Truncation(0.5), PB2()), problem(6, 5, FLOATS), smooth)
    return " ".join(value.hex() for segment in run.segments for value in segment.hparams.values())


@pytest.mark.slow
def test_another_process_with_any_number_of_threads_gives_the_same_bits():
    for threads in ("1", "4"):
        env = os.environ | {
            "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path]),
            "OPENBLAS_NUM_THREADS": threads,
            "OMP_NUM_THREADS": threads,
            "PYTHONHASHSEED": threads,
        }
        code = "import test_pb2 as t; print(t.asked())"
        done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
        assert done.stdout.strip() == asked()
        assert done.stderr == ""


def test_scikit_learn_is_loaded_only_to_fit():
    code = "import sys\nfrom hpo.core.registry import perturbations\nfrom hpo.optimizers.pb2 import PB2\n"
    code += "assert perturbations.get('pb2') is PB2\nprint('sklearn' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_the_process_is_a_plain_value():
    process = FittedProcess(np.zeros((1, 2)), np.zeros(1), fit(np.eye(3), np.arange(3.0)).kernel, 0.1)
    assert process.given().upper_confidence(np.zeros((1, 2)), 0.0) == pytest.approx([0.0])
