import time
from collections.abc import Mapping
from dataclasses import dataclass, field

import pytest
from driver import FLOATS, MIXED, SPACES, drive, level, no_exploit, problem, smooth

from hpo.core.errors import OptimizerError, OptionError
from hpo.core.space import Categorical, Float, SearchSpace
from hpo.optimizers.pbt import PBT
from hpo.optimizers.perturbation import Gaussian, Multiply, NoPerturbation
from hpo.optimizers.random_search import RandomSearch
from hpo.optimizers.selection import ExploitBest, NoSelection, Truncation


@pytest.mark.parametrize("space", [FLOATS, MIXED])
@pytest.mark.parametrize("concurrency", [1, 2, 5])
def test_without_selection_and_exploring_copies_only_it_is_random_search(space, concurrency):
    of = problem(5, 4, space, concurrency=concurrency)
    pbt, random = drive(no_exploit(), of), drive(RandomSearch(), of)
    assert set(pbt.results) == set(random.results)
    assert pbt.best == random.best
    if concurrency == 5:
        assert pbt.rounds == random.rounds


def test_exploit_copies_checkpoint_and_hyperparameters_of_the_best():
    options = PBT(0.5, ExploitBest(), NoPerturbation())
    run = drive(options, problem(4, 2))
    first = [result for result in run.results.values() if result.segment.interval == 0]
    best = max(first, key=lambda result: result.score)
    for segment in run.rounds[1]:
        assert segment.parent == best.key
        assert segment.hparams == best.segment.hparams


def test_truncation_replaces_the_bottom_and_leaves_the_middle_alone():
    run = drive(PBT(1.0, Truncation(0.2), NoPerturbation()), problem(15, 20))
    for interval in range(1, 20):
        segments = [segment for segment in run.segments if segment.interval == interval]
        moved = [s for s in segments if run.results[s.parent].segment.member != s.member]
        assert len(moved) == (3 if interval % 2 == 0 else 0)


def test_the_answer_does_not_depend_on_the_concurrency():
    runs = [drive(PBT(1.0), problem(10, 6, MIXED, concurrency=c)) for c in (1, 3, 10)]
    assert len({run.best for run in runs}) == 1
    assert len({frozenset(run.results) for run in runs}) == 1
    assert runs[0].counts == runs[1].counts == runs[2].counts


def test_streams_make_independent_repeats():
    keys = [frozenset(drive(PBT(0.5), problem(10, 4, stream=stream)).results) for stream in (0, 1)]
    assert keys[0] != keys[1]


def test_inheriting_weights_alone_keeps_ones_own_hyperparameters_but_for_fixed_ones():
    options = PBT(0.5, ExploitBest(), NoPerturbation(), inherit="weights")
    run = drive(options, problem(4, 3, MIXED))
    for segment in run.segments:
        if segment.parent is None:
            continue
        own = next(s for s in run.segments if s.member == segment.member and s.interval == 0)
        donor = run.results[segment.parent].segment
        assert segment.hparams == dict(own.hparams) | {"width": donor.hparams["width"]}
    assert len({s.hparams["width"] for s in run.rounds[-1]}) == 1


def test_conditional_hyperparameters_follow_the_donors_controls():
    space = SearchSpace(
        {
            "optimizer": Categorical(("sgd", "adam")),
            "lr": Float(1e-5, 1.0, log=True),
            "momentum": Float(0.0, 0.99, when={"optimizer": "sgd"}),
            "beta2": Float(0.9, 0.999, when={"optimizer": "adam"}),
        }
    )
    initial = (
        {"optimizer": "adam", "lr": 0.01, "beta2": 0.95},
        {"optimizer": "sgd", "lr": 0.2, "momentum": 0.5},
        {"optimizer": "adam", "lr": 0.5, "beta2": 0.98},
    )
    of = problem(3, 2, space, initial=initial)
    weights = drive(PBT(0.5, ExploitBest(), NoPerturbation(), inherit="weights"), of)
    # Slot 0 is the best. Slot 1 keeps its lr and takes what adam needs; slot 2 keeps its own beta2.
    assert [dict(segment.hparams) for segment in weights.rounds[1]] == [
        {"optimizer": "adam", "lr": 0.01, "beta2": 0.95},
        {"optimizer": "adam", "lr": 0.2, "beta2": 0.95},
        {"optimizer": "adam", "lr": 0.5, "beta2": 0.98},
    ]
    everything = drive(PBT(0.5, ExploitBest(), NoPerturbation()), of)
    assert [dict(segment.hparams) for segment in everything.rounds[1]] == [initial[0]] * 3


def test_controls_are_never_perturbed_and_what_is_active_is():
    space = SPACES["conditional"]
    for perturbation in (Multiply(), Gaussian(0.3)):
        run = drive(PBT(0.5, NoSelection(), perturbation, explore="all"), problem(12, 6, space))
        for slot in range(12):
            chain = [segment.hparams for segment in run.segments if segment.member == slot]
            assert all(hparams.keys() == chain[0].keys() for hparams in chain)
            for name in chain[0]:
                values = {hparams[name] for hparams in chain}
                assert len(values) == 1 if name in space.held else len(values) > 1 or name == "skip", (slot, name)


def test_explore_all_changes_everyone_and_copied_only_the_copies():
    everyone = drive(PBT(0.5, NoSelection(), Multiply((1.5,)), explore="all"), problem(4, 2))
    for before, after in zip(*everyone.rounds, strict=True):
        assert after.hparams["lr"] == min(before.hparams["lr"] * 1.5, 1.0)
    copies = drive(PBT(0.5, ExploitBest(), Multiply((1.5,))), problem(4, 2))
    best = max((r for r in copies.results.values() if r.segment.interval == 0), key=lambda r: r.score)
    assert copies.rounds[1][best.segment.member].hparams == best.segment.hparams


def test_bounds_are_clipped_and_hits_counted():
    space = SearchSpace({"lr": Float(0.1, 1.0)})
    of = problem(3, 3, space, initial=tuple({"lr": 0.9} for _ in range(3)))
    run = drive(PBT(0.5, NoSelection(), Multiply((1.2,)), explore="all"), of, score=level)
    assert {segment.hparams["lr"] for segment in run.rounds[1]} == {1.0}
    assert run.counts == {"boundary_hits": 6, "all_diverged": 0}
    reflected = drive(PBT(0.5, NoSelection(), Multiply((1.2,), "reflect"), explore="all"), of, score=level)
    assert [segment.hparams["lr"] for segment in reflected.rounds[1]] == pytest.approx([0.92] * 3)


def test_fixed_parameters_are_inherited_and_never_perturbed():
    for perturbation in (Multiply(), Gaussian(0.3)):
        run = drive(PBT(0.5, Truncation(0.5), perturbation, explore="all"), problem(6, 6, MIXED))
        for segment in run.segments:
            root = run.path(next(k for k, r in run.results.items() if r.segment is segment))[0]
            assert segment.hparams["width"] == root.hparams["width"]
        assert len({segment.hparams["lr"] for segment in run.segments}) > 20


def test_all_diverged_is_counted_and_nobody_copies():
    run = drive(PBT(0.5, explore="all"), problem(5, 4), diverges=lambda segment: True)
    assert run.counts["all_diverged"] == 3
    assert set(run.results) == set(drive(RandomSearch(), problem(5, 4), diverges=lambda segment: True).results)


def test_a_diverged_member_is_replaced_only_when_the_rule_picks_it():
    # Slots 0 to 2 of 10 diverge: truncation at 0.2 replaces the two that rank last, and slot 0 stays diverged.
    run = drive(PBT(0.5), problem(10, 2), diverges=lambda s: s.interval == 0 and s.member < 3)
    parents = {s.member: run.results[s.parent] for s in run.rounds[1]}
    assert parents[0].diverged
    assert not parents[1].diverged
    assert not parents[2].diverged


def test_burn_in_puts_the_first_exploit_off():
    run = drive(PBT(0.5, ExploitBest(), burn_in=1.5), problem(4, 5))
    moved = {s.interval for s in run.segments if s.parent and run.results[s.parent].segment.member != s.member}
    assert moved == {3, 4}


def test_select_any_takes_the_best_of_any_interval():
    def falling(segment):
        return float(segment.interval == 1) + smooth(segment) / 1e6

    run = drive(PBT(0.5, select="any"), problem(6, 4), score=falling)
    assert run.results[run.best].segment.interval == 1


@pytest.mark.parametrize(
    ("options", "n", "named"),
    [
        (PBT(0.7), 5, "perturbation_interval"),
        (PBT(-0.5), 5, "perturbation_interval"),
        (PBT(2.0), 5, "perturbation_interval"),
        (PBT(5.0), 5, "perturbation_interval"),
        (PBT(0.5, burn_in=0.3), 5, "burn_in"),
        (PBT(0.5, burn_in=2.0), 5, "burn_in"),
        (PBT(1.5, burn_in=1.6), 5, "burn_in"),
        (PBT(0.5, Truncation(0.2)), 4, "selection.quantile_fraction"),
        (PBT(0.5, Truncation(0.5)), 1, "selection.quantile_fraction"),
        (PBT(0.5, Truncation(0.6)), 10, "selection.quantile_fraction"),
        (PBT(0.5, Truncation(0.0)), 10, "selection.quantile_fraction"),
    ],
)
def test_options_that_mean_nothing_are_refused_at_the_start(options, n, named):
    with pytest.raises(OptionError) as caught:
        options.start(problem(n, 4))
    assert caught.value.option == named


@dataclass(frozen=True)
class Chooses:
    """A selection that maps every slot to what `who` says of the population."""

    who: object

    def check(self, population_size):
        pass

    def __call__(self, population, rng):
        return self.who(population)


@dataclass(frozen=True)
class Returns:
    """A perturbation that changes hyperparameters as given."""

    change: Mapping[str, object]
    slot: int | None = None
    bounds: str = field(default="clip")

    def __call__(self, copied, space, history, rng):
        return {m.slot if self.slot is None else self.slot: {**m.hparams, **self.change} for m in copied}


@pytest.mark.parametrize(
    ("who", "message"),
    [
        (lambda population: {1: population[0].key}, "slot 0, which has diverged"),
        (lambda population: {1: "0" * 64}, "would copy .*: no such slot"),
        (lambda population: {9: population[2].key}, "would copy .*: no such slot"),
        (lambda population: {-1: population[2].key}, "would copy .*: no such slot"),
    ],
)
def test_a_misbehaving_selection_is_an_error(who, message):
    with pytest.raises(OptimizerError, match=message):
        drive(PBT(0.5, Chooses(who)), problem(4, 3), diverges=lambda segment: segment.member == 0)


def test_ones_own_key_means_no_change():
    options = PBT(0.5, Chooses(lambda population: {member.slot: member.key for member in population}))
    assert set(drive(options, problem(4, 3)).results) == set(drive(RandomSearch(), problem(4, 3)).results)


@pytest.mark.parametrize(
    ("change", "slot", "message"),
    [
        ({"lr": float("nan")}, None, "slot 0: lr = nan "),
        ({"lr": float("inf")}, None, "lr = inf"),
        ({"lr": "big"}, None, "lr = 'big'"),
        ({"layers": True}, None, "layers = True"),
        ({"activation": "sigmoid"}, None, "slot 0: activation = 'sigmoid' .*relu"),
        ({"batch": True}, None, "batch = True"),
        ({"typo": 1.0}, None, "typo"),
        ({}, 99, "was not to be changed"),
    ],
)
def test_a_misbehaving_perturbation_is_an_error(change, slot, message):
    with pytest.raises(OptimizerError, match=message):
        drive(PBT(0.5, ExploitBest(), Returns(change, slot)), problem(4, 3, MIXED))


def test_what_passes_a_bound_is_brought_inside_with_the_type_of_the_space():
    run = drive(PBT(0.5, ExploitBest(), Returns({"lr": 7, "layers": 99.0, "width": 1})), problem(3, 2, MIXED))
    changed = [s for s in run.rounds[1] if run.results[s.parent].segment.member != s.member]
    assert [(s.hparams["lr"], s.hparams["layers"]) for s in changed] == [(1.0, 6), (1.0, 6)]
    assert run.counts["boundary_hits"] == 4


def test_a_population_of_ten_thousand_takes_no_longer_per_segment():
    def seconds_per_segment(n):
        start = time.perf_counter()
        optimizer = PBT(0.5).start(of := problem(n, 3))
        from driver import Run, evaluate

        run = Run()
        for _ in range(3):
            results = [evaluate(s, of, run, smooth, lambda s: False) for s in optimizer.ask(n)]
            run.results |= {result.key: result for result in results}
            optimizer.tell(results)
        optimizer.best()
        return (time.perf_counter() - start) / (3 * n)

    small = min(seconds_per_segment(100) for _ in range(3))
    # Quadratic work would be a hundred times as much; the rest is room for a busy machine.
    assert seconds_per_segment(10_000) < 20 * small
