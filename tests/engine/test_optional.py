"""Optional hyperparameters, arms that go without them, and training that depends on the budget."""

import numpy as np
import pytest
from helpers import HERE, PBT, RANDOM, TPE, document, results, run
from torch_tasks import Blobs

import hpo
from hpo.core.errors import HpoError
from hpo.core.segments import Segment, Split
from hpo.core.splits import DataPlan
from hpo.engine.keys import Keys
from hpo.execution.jobs import Job
from hpo.execution.runner import Runner
from hpo.store import Store

DECAY = {"type": "float", "low": 0.01, "high": 1.0, "log": True}
TASK = {"name": "fading", "module": "decay_tasks"}
WITHOUT = {"without": ["decay"]}
ARMS = (
    {**RANDOM, "label": "plain", **WITHOUT},
    {**RANDOM, "label": "decay"},
    {**PBT, "label": "pbt", **WITHOUT},
    {**TPE, "label": "tpe", **WITHOUT},
    {**PBT, "label": "pbt+decay"},
)
SMALL = {"budget": 3, "population_size": 4}


def fading(*arms, space=("decay",), **study):
    task = {**TASK, "search_space": dict.fromkeys(space, DECAY)}
    return document(task, arms=arms or ARMS, **{**SMALL, **study})


def parsed(*arms, **study):
    return hpo.parse_study(fading(*arms, **study), search_path=[HERE])


@pytest.fixture(scope="module")
def faded(tmp_path_factory):
    """Return the run directory of a study whose arms search with the decay or without it."""
    return run(fading(), tmp_path_factory.mktemp("fading") / "run").run_dir


def test_an_optional_hyperparameter_is_in_the_space_only_where_it_is_named():
    assert list(parsed(RANDOM, space=()).space) == ["lr", "momentum", "width"]
    assert list(parsed(RANDOM).space) == ["lr", "momentum", "width", "decay"]


def test_the_initial_population_is_paired_in_what_the_arms_share():
    spec = parsed()
    plain, decay, pbt = spec.problem(3, spec.arms[0]), spec.problem(3, spec.arms[1]), spec.problem(3, spec.arms[2])
    assert list(plain.space) == list(pbt.space) == ["lr", "momentum", "width"]
    for slot in range(6):
        drawn = decay.hparams(slot)
        assert drawn == spec.space.sample(decay.streams.generator("prior", member=slot, shared=True))
        kept = {name: value for name, value in drawn.items() if name != "decay"}
        assert plain.hparams(slot) == pbt.hparams(slot) == kept


def test_given_members_name_the_whole_space_and_arms_drop_what_they_go_without():
    given = {"lr": 0.1, "momentum": 0.5, "width": 8, "decay": 0.1}
    spec = parsed(initial=[given])
    assert spec.problem(0, spec.arms[1]).hparams(0) == given
    assert spec.problem(0, spec.arms[0]).hparams(0) == {"lr": 0.1, "momentum": 0.5, "width": 8}


def test_segments_lack_what_their_arm_goes_without(faded):
    for replicate in results(faded)["replicates"]:
        for label, arm in replicate["arms"].items():
            names = [list(step["hparams"]) for step in arm["schedule"]]
            whole = ["lr", "momentum", "width"] + ["decay"] * (label in ("decay", "pbt+decay"))
            assert names == [whole] * len(names)
            assert arm["charged_intervals"] == 12
    lines = (faded / "segments.csv").read_text().splitlines()
    at = lines[0].split(",").index("hparam:decay")
    assert {(row.split(",")[1] in ("decay", "pbt+decay"), row.split(",")[at] != "") for row in lines[1:]} == {
        (True, True),
        (False, False),
    }


def test_going_without_is_the_study_without(faded, tmp_path):
    """The special case: given the same members, an arm that goes without trains what a study without it trains."""
    spec = parsed()
    given = [dict(spec.problem(0, spec.arms[1]).hparams(slot)) for slot in range(4)]
    reduced = [{name: value for name, value in hparams.items() if name != "decay"} for hparams in given]
    plain = {**RANDOM, "label": "plain"}
    alone = run(fading(plain, space=(), initial=reduced, replicates=1), tmp_path / "alone").results
    within = results(faded)["replicates"][0]["arms"]["plain"]
    assert alone["replicates"][0]["arms"]["plain"] == within
    keys = []
    for run_dir in (tmp_path / "alone", faded):
        with Store(run_dir) as store:
            keys.append(store.study.journal(0, "plain"))
    assert keys[0] == keys[1]  # the same keys: the same work


def test_models_of_arms_without_are_loaded(faded):
    for label in ("plain", "decay"):
        assert hpo.load_model(faded, label, 0, search_path=[HERE]) is not None


@pytest.mark.slow
def test_workers_change_nothing(faded, tmp_path):
    found = run(fading(), tmp_path, executor="process", workers=2).results
    assert found["replicates"] == results(faded)["replicates"]


# --- the budget ------------------------------------------------------------------------------------------------------


def key_of(spec):
    return Keys(spec.bound, {}, spec.interval, spec.budget).of(0, 0)


def test_the_budget_is_in_the_keys_of_what_depends_on_it_alone():
    short, long = key_of(parsed()), key_of(parsed(budget=4))
    plain = Segment(0, None, 0, {"lr": 0.1, "momentum": 0.5, "width": 4})
    decaying = Segment(0, None, 0, {**plain.hparams, "decay": 0.1})
    assert short(plain) == long(plain)
    assert short(decaying) != long(decaying)


def test_the_same_progress_is_the_same_decay_whatever_the_split(tmp_path):
    """Progress is by epochs: half of the budget is half of it on the training part and on all the data."""
    spec = parsed(budget=2)
    factors = {}

    class Seen(type(spec.task)):
        def learning_rate_schedule(self, hparams):
            def factor(progress):
                factors.setdefault(split, []).append(progress)
                return 1.0

            return factor

    runner = Runner(Seen(), spec.interval, tmp_path, spec.intervals)
    hparams = {"lr": 0.1, "momentum": 0.5, "width": 4}
    for split, examples in ((Split.SEARCH, 240), (Split.FULL, 300)):
        checkpoint = None
        for interval in (0, 1):
            segment = Segment(0, "parent" if interval else None, interval, hparams, split)
            checkpoint = runner(Job("k", segment, 0, 0, checkpoint)).checkpoint
        steps = -(-examples // 16)
        expected = [(k + 16 * step / examples) / 2 for k in (0, 1) for step in range(steps)]
        assert factors[split] == pytest.approx(expected, rel=1e-12)


def test_a_schedule_without_a_known_budget_is_an_error(tmp_path):
    spec = parsed()
    runner = Runner(spec.task, spec.interval, tmp_path)
    hparams = {"lr": 0.1, "momentum": 0.5, "width": 4}
    assert runner(Job("k", Segment(0, None, 0, hparams), 0, 0, None)).error is None
    outcome = runner(Job("k", Segment(0, None, 0, {**hparams, "decay": 0.1}), 0, 0, None))
    assert "training depends on a member's budget" in outcome.error


def test_batches_hold_the_budget_only_where_it_is_asked_for():
    plan = DataPlan(Blobs().development_data(), 60, 16, hpo.parse_study(document()).interval, 3)
    assert plan.batches(0, Split.SEARCH, 0).budget is None
    assert plan.batches(0, Split.SEARCH, 0, with_budget=True).budget == 3.0
    unknown = DataPlan(Blobs().development_data(), 60, 16, plan.interval)
    with pytest.raises(HpoError, match="budget"):
        unknown.batches(0, Split.SEARCH, 0, with_budget=True)


def test_the_rate_that_each_step_takes_decays_over_the_whole_budget(tmp_path):
    spec = parsed(budget=2)
    rates = []

    class Noted(type(spec.task)):
        def training_step(self, state, inputs, targets):
            rates.extend({group["lr"] for group in state.optimizer.param_groups})
            return super().training_step(state, inputs, targets)

    runner = Runner(Noted(), spec.interval, tmp_path, spec.intervals)
    hparams = {"lr": 0.2, "momentum": 0.5, "width": 4, "decay": 0.01}
    first = runner(Job("a", Segment(0, None, 0, hparams), 0, 0, None))
    assert first.error is None
    second = runner(Job("b", Segment(0, "a", 1, {**hparams, "lr": 0.1}), 0, 0, first.checkpoint))
    assert second.error is None
    progress = np.arange(0, 240, 16) / 480
    expected = np.concatenate([0.2 * 0.01**progress, 0.1 * 0.01 ** (0.5 + progress)])
    assert rates == pytest.approx(expected, rel=1e-12)
