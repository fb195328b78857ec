"""The task `loop`: a user's own training class."""

import copy
import random
from collections import Counter, deque

import numpy as np
import pytest
import torch
from helpers import cli, results, write_study
from hypothesis import given
from hypothesis import strategies as st
from loop_tasks import Converging, Files, Training, data
from sklearn.linear_model import SGDClassifier
from torch import nn
from torch.optim import SGD, AdamW
from torch.optim import lr_scheduler as schedules

import hpo
from hpo.core.errors import HpoError
from hpo.tasks.loop import LoopTask
from hpo.tasks.loop.attributes import load, snapshot
from hpo.tasks.loop.folder import folder_arrays, write_folder
from hpo.tasks.loop.follow import Followed
from hpo.tasks.torch.state_dicts import packed, unpacked

SPACE = {"lr": hpo.Float(1e-3, 0.1, log=True)}
DATA = {"data": data, "metric": "error", "batch_size": 16, "validation_size": 60}
OF_LOOP = {"optimizer": "pbt", "population_size": 5, "budget": 4, "report": False}


def tune(cls, out, space=SPACE, **options):
    return hpo.tune(cls, space, out=out, **{**OF_LOOP, **options})


def with_parents(frame):
    """Yield each row with that of the segment it started from, or None."""
    rows = {(row.member, row.interval): row for row in frame.itertuples()}
    for row in rows.values():
        yield row, rows.get((row.parent_member, row.interval - 1))


# --- the whole -----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def searched(tmp_path_factory):
    return tune(Training, tmp_path_factory.mktemp("loop") / "run", **DATA)


def test_after_every_copy_the_mutated_rate_is_in_force_under_a_live_schedule(searched):
    frame = searched.frame()
    assert len(frame) == 20
    assert frame["lr"].nunique() > 5  # copies have changed it
    steps = 48  # four epochs of 180 examples in batches of 16
    for k, group in frame.groupby("interval"):
        reference = schedules.OneCycleLR(SGD([torch.zeros(1)], lr=1.0, momentum=0.9), 1.0, total_steps=steps)
        for _ in range(12 * (k + 1)):
            reference.optimizer.step()
            reference.step()
        share = reference.get_last_lr()[0]
        np.testing.assert_allclose(group["rate"] / group["lr"], share, rtol=1e-9)
        np.testing.assert_allclose(group["head"] / group["lr"], share / 10, rtol=1e-9)
        assert set(group["taken"]) == {12 * (k + 1)}


def test_the_winner_is_retrained_on_all_data_with_a_schedule_of_its_own_length(searched):
    model = searched.model("pbt", 0)
    assert isinstance(model, Training)
    assert (model.steps, sum(model.seen)) == (60, 60)
    with torch.no_grad():
        test = data().test
        wrong = (model.model.eval()(test.inputs).argmax(1) != test.targets).sum()
    assert searched.best.test["error"] == int(wrong) / 100


def test_one_interval_and_many_train_the_same(tmp_path):
    class Plain(Training):
        def __init__(self, hparams, steps):
            super().__init__(hparams, steps)
            self.model[3].p = 0.0  # its noise belongs to intervals

    finals = [
        tune(Plain, tmp_path / str(length), optimizer="random_search", budget=4, interval=length, **DATA).frame()
        for length in (1, 4)
    ]
    many, one = ([*frame[frame["interval"] == frame["interval"].max()]["error"]] for frame in finals)
    # An epoch's last batch is short, so intervals of one epoch take more steps.
    assert [*finals[0]["taken"]][-1] == 48
    assert [*finals[1]["taken"]][-1] == 45
    assert len(many) == len(one) == 5


def test_study_file_with_one_and_two_workers(tmp_path):
    study = {
        "study": {"name": "loops", "population_size": 5, "budget": 2, "interval": 1, "replicates": 2},
        "task": {
            "loop": "loop_tasks:Training",
            "data": "loop_tasks:data",
            **{key: value for key, value in DATA.items() if key != "data"},
            "search_space": {"lr": {"type": "float", "low": 0.001, "high": 0.1, "log": True}},
        },
        "arms": [{"label": "random", "optimizer": "random_search"}, {"label": "pbt", "optimizer": "pbt"}],
        "comparison": {"baseline": "random", "metric": "error"},
    }
    for out, options in (("one", ["--executor", "serial"]), ("two", ["--workers", 2])):
        done = cli(write_study(tmp_path, study), "--out", tmp_path / out, *options)
        assert done.returncode == 0, done.stderr
    assert (tmp_path / "one/results.json").read_bytes() == (tmp_path / "two/results.json").read_bytes()
    assert results(tmp_path / "one")["task"]["name"] == "loop"
    assert isinstance(hpo.load_model(tmp_path / "one", "pbt", 1), Training)


def test_a_class_that_saves_itself(tmp_path):
    done = tune(Files, tmp_path, {"lr": hpo.Float(0.01, 0.1)}, optimizer={"optimizer": "pbt", "explore": "all"})
    frame = done.frame()
    assert [*frame["lr_in_force"]] == [*frame["lr"]]
    for row, parent in with_parents(frame):
        assert row.loss == pytest.approx((1.0 if parent is None else parent.loss) * (1 - row.lr), rel=1e-12)
    assert done.best.value == frame[frame["interval"] == 3]["loss"].min()
    assert done.model("pbt", 0).evaluate()["loss"] == done.best.value


def test_a_class_that_loses_its_hyperparameters_in_its_own_restore_is_refused(tmp_path):
    class Overwritten(Files):
        def save(self, folder):
            super().save(folder)
            np.save(folder / "lr.npy", self.hparams["lr"])

        def load(self, folder):
            super().load(folder)
            self.hparams = {"lr": float(np.load(folder / "lr.npy"))}

        def apply(self, hparams):
            self.hparams = self.hparams or dict(hparams)

    with pytest.raises(hpo.InputError, match=r"Overwritten.*lr"):
        tune(Overwritten, tmp_path, {"lr": hpo.Float(0.01, 0.1)})


class Knowing:
    """It has no data, and knows its budget and its unit."""

    def __init__(self, hparams, steps, unit):
        self.budget, self.unit, self.seen, self.level = steps, unit, [], hparams["level"]

    def train(self, steps):
        assert isinstance(steps, range)
        self.seen.extend(steps)

    def evaluate(self):
        assert self.unit == "rounds"
        return {"loss": self.level, "budget": self.budget, "left": self.budget - len(self.seen)}


def test_without_data_a_class_may_know_its_budget(tmp_path):
    space = {"level": hpo.Float(0.1, 0.9)}
    done = tune(Knowing, tmp_path, space, unit="rounds", budget=6, interval=2)
    frame = done.frame()
    assert set(frame["budget"]) == {6}
    assert [*frame["left"]] == [*(4 - 2 * frame["interval"])]
    assert done.model("pbt", 0).seen == [*range(6)]


class Small:
    def __init__(self, hparams):
        self.model = nn.Linear(2, 1)
        self.optimizer = AdamW(self.model.parameters(), lr=hparams["lr"], weight_decay=hparams["decay"])

    def train(self, steps):
        for _ in steps:
            self.optimizer.zero_grad()
            self.model(torch.ones(2)).square().sum().backward()
            self.optimizer.step()

    def evaluate(self):
        return float(self.model(torch.ones(2)).square().sum().detach())


class WithoutApply(Small):
    def save(self, folder):
        torch.save([self.model.state_dict(), self.optimizer.state_dict()], folder / "checkpoint.pt")

    def load(self, folder):
        model, optimizer = torch.load(folder / "checkpoint.pt", weights_only=True)
        self.model.load_state_dict(model)
        self.optimizer.load_state_dict(optimizer)


class WithPartOfApply(WithoutApply):
    def apply(self, hparams):
        for group in self.optimizer.param_groups:
            group["lr"] = hparams["lr"]


@pytest.mark.parametrize(("cls", "words"), [(WithoutApply, "apply"), (WithPartOfApply, "weight_decay")])
def test_a_class_whose_own_restore_brings_old_hyperparameters_is_refused(tmp_path, cls, words):
    space = {**SPACE, "decay": hpo.Float(0.001, 0.1)}
    with pytest.raises(hpo.InputError, match=words):
        tune(cls, tmp_path / "run", space)
    tune(cls, tmp_path / "free", space, optimizer="random_search")


class Overwriting(Small):
    def train(self, steps):
        self.optimizer.param_groups[0]["lr"] = 0.01  # as of a schedule by hand
        super().train(steps)


def test_a_hyperparameter_that_training_overwrites_is_a_warning_by_name(tmp_path):
    space = {**SPACE, "decay": hpo.Float(0.001, 0.1)}
    with pytest.warns(UserWarning, match=r"Overwriting: lr made no difference"):
        tune(Overwriting, tmp_path, space, optimizer="random_search")


class Mapped:
    """Its data are in a file, of which no checkpoint needs a copy."""

    def __init__(self, hparams):
        self.data = np.memmap(FILE[0], np.uint8, mode="r")
        self.sum = 0.0

    def train(self, steps, hparams):
        self.sum += hparams["lr"] * float(self.data[0])

    def evaluate(self):
        return self.sum


FILE = [None]


def test_a_mapped_file_is_not_copied_into_checkpoints(tmp_path):
    FILE[0] = tmp_path / "data.bin"
    np.ones(2**18, np.uint8).tofile(FILE[0])
    assert len(tune(Mapped, tmp_path / "run", version="1").frame()) == 20
    assert not (tmp_path / "run/checkpoints").exists()


# --- converged members ---------------------------------------------------------------------------------------------------


def test_a_converged_member_is_neither_trained_nor_charged_any_further(tmp_path):
    space = {"level": hpo.Categorical([0.3, 0.2, 0.01])}
    done = tune(Converging, tmp_path, space, optimizer="random_search", population_size=6, budget=5)
    frame = done.frame()
    needed = {0.3: 2, 0.2: 3, 0.01: 5}
    assert set(frame["level"]) == set(needed)
    roots = frame[frame["interval"] == 0]
    arm = done.document.replicates[0].arms["random_search"]
    assert arm.charged_intervals == sum(needed[level] for level in roots["level"])
    for row in frame.itertuples():
        assert row.loss == 0.5 ** min(row.interval + 1, needed[row.level])
    assert done.best.value == 0.5**5
    assert done.model("random_search", 0).loss == done.best.value


class Masked:
    """Holds numbers that are infinite by design; `finished` may be a method."""

    def __init__(self, hparams):
        self.loss, self.level = 1.0, hparams["level"]
        self.mask, self.best = torch.tensor([0.0, -torch.inf]), torch.tensor(torch.inf)

    def train(self, steps):
        for _ in steps:
            self.loss /= 2

    def evaluate(self):
        self.best = torch.minimum(self.best, torch.tensor(self.loss))
        return self.loss

    def finished(self):
        return False


def test_numbers_that_are_infinite_by_design_are_no_divergence(tmp_path):
    done = tune(Masked, tmp_path, {"level": hpo.Float(0.1, 0.2)}, optimizer="random_search")
    assert done.best.value == 0.5**4
    assert not done.frame()["diverged"].any()
    assert done.model().best == 0.5**4


def test_a_loop_gets_what_behaves_like_a_data_loader(tmp_path):
    class Sized(Training):
        def train(self, batches):
            super().train(batches)
            assert (len(batches), len(batches.dataset), batches.batch_size) in {
                (12, 180, 16),
                (2, 20, 16),
                (2, 32, 16),
            } | {(15, 240, 16)}

        def evaluate(self, batches):
            assert len(batches) == len(list(batches))
            assert len(batches.dataset) == sum(len(targets) for _, targets in batches)
            return super().evaluate(batches)

    tune(Sized, tmp_path, optimizer="random_search", **DATA)


def test_a_converged_member_with_new_hyperparameters_goes_on(tmp_path):
    space = {"level": hpo.Float(0.001, 0.9, log=True)}
    done = tune(
        Converging, tmp_path, space, population_size=8, budget=6, optimizer={"optimizer": "pbt", "explore": "all"}
    )
    gone_on = 0
    for row, parent in with_parents(done.frame()):
        if parent is not None:
            stops = parent.finished and parent.level == row.level
            assert row.loss == parent.loss / (1 if stops else 2)
            gone_on += bool(parent.finished) and not stops
    assert gone_on
    best = done.best.schedule
    assert done.best.value == 0.5 ** len(best.hparams) == done.model("pbt", 0).loss


# --- hyperparameters in force --------------------------------------------------------------------------------------------

SCHEDULES = {
    "step": lambda optimizer, hparams: schedules.StepLR(optimizer, 3, gamma=0.5),
    "exponential": lambda optimizer, hparams: schedules.ExponentialLR(optimizer, 0.9),
    "cosine": lambda optimizer, hparams: schedules.CosineAnnealingLR(optimizer, 20),
    "lambda": lambda optimizer, hparams: schedules.LambdaLR(optimizer, lambda step: 1 / (1 + step)),
    "warmup": lambda optimizer, hparams: schedules.LambdaLR(optimizer, lambda step: step / 5),
    "one cycle": lambda optimizer, hparams: schedules.OneCycleLR(optimizer, hparams["lr"], total_steps=20),
    "restarts": lambda optimizer, hparams: schedules.CosineAnnealingWarmRestarts(optimizer, 4),
    "polynomial": lambda optimizer, hparams: schedules.PolynomialLR(optimizer, 20),
    "sequence": lambda optimizer, hparams: schedules.SequentialLR(
        optimizer, [schedules.LinearLR(optimizer, 0.1, 1.0, 4), schedules.StepLR(optimizer, 2)], [4]
    ),
    "chain": lambda optimizer, hparams: schedules.ChainedScheduler(
        [schedules.ConstantLR(optimizer, 0.1, 3), schedules.ExponentialLR(optimizer, 0.9)]
    ),
    "cyclic": lambda optimizer, hparams: schedules.CyclicLR(optimizer, hparams["lr"] / 10, hparams["lr"], 5),
}


class Scheduled:
    def __init__(self, hparams, kind):
        self.weights = nn.Linear(3, 2)
        groups = [{"params": [self.weights.weight], "weight_decay": hparams["decay"]}, {"params": [self.weights.bias]}]
        self.optimizer = SGD(groups, lr=hparams["lr"], momentum=0.9, nesterov=True)
        self.scheduler = SCHEDULES[kind](self.optimizer, hparams)

    def step(self, times):
        for _ in range(times):
            self.optimizer.zero_grad()
            self.weights(torch.ones(3)).sum().backward()
            self.optimizer.step()
            self.scheduler.step()
        return self

    @property
    def options(self):
        return [(group["lr"], group["weight_decay"]) for group in self.optimizer.param_groups]


def restored(make, saved, old, new):
    """Return a new object with the content of `saved`, and with new hyperparameters in force."""
    content = unpacked(packed(saved.content, "self"), "self")
    found = make(new)
    followed = Followed(content, snapshot(make(old)).content, snapshot(found).content)
    load(found, followed.content, saved.states, {})
    assert not followed.not_in_force(snapshot(found).content)
    return found


@pytest.mark.parametrize("kind", SCHEDULES)
@given(before=st.integers(0, 8), after=st.integers(0, 8), ratio=st.sampled_from([0.8, 1.2, 10.0]))
def test_a_new_rate_reaches_every_scheduler(kind, before, after, ratio):
    old, new = {"lr": 0.1, "decay": 0.01}, {"lr": 0.1 * ratio, "decay": 0.03}
    trained = Scheduled(old, kind).step(before)
    found = restored(lambda hparams: Scheduled(hparams, kind), snapshot(trained), old, new)
    assert torch.equal(found.weights.weight, trained.weights.weight)
    expected = Scheduled(new, kind).step(before + after).options
    np.testing.assert_allclose(found.step(after).options, expected, rtol=1e-9)


class Shaped:
    """What depends on hyperparameters in other ways than as a number."""

    def __init__(self, hparams):
        p, k = hparams["lr"], round(hparams["decay"] * 100)
        self.loss = nn.CrossEntropyLoss(weight=torch.tensor([1.0, p]))
        self.array, self.number = np.array([1.0, p]), np.float32(p)
        self.milestones = list(range(k))
        self.named = {f"mode {k}": 1.0}
        self.last = float("nan")
        self.head = nn.Linear(1, 1)
        nn.init.constant_(self.head.bias, p)


def test_whatever_depends_on_hyperparameters_follows_and_weights_stay():
    old, new = {"lr": 0.1, "decay": 0.01}, {"lr": 0.2, "decay": 0.03}
    trained = Shaped(old)
    trained.last = 1.0
    nn.init.constant_(trained.head.bias, 7.0)
    found, expected = restored(Shaped, snapshot(trained), old, new), Shaped(new)
    assert torch.equal(found.loss.weight, expected.loss.weight)
    np.testing.assert_array_equal(found.array, expected.array)
    assert (found.number, found.milestones, found.named) == (expected.number, expected.milestones, expected.named)
    assert (found.last, found.head.bias.item()) == (1.0, 7.0)


def test_what_does_not_take_a_new_hyperparameter_is_named():
    class Deaf:
        def __init__(self, hparams):
            self.rate = hparams["lr"]

        def state_dict(self):
            return {"rate": self.rate}

        def load_state_dict(self, state):
            self.rate = 0.5

    class Holder:
        def __init__(self, hparams):
            self.deaf = Deaf(hparams)

    found = Holder({"lr": 2.0})
    followed = Followed(*(snapshot(Holder({"lr": lr})).content for lr in (1.0, 1.0)), snapshot(found).content)
    load(found, followed.content, ["deaf"], {})
    assert followed.not_in_force(snapshot(found).content) == ["deaf.rate"]


# --- what is saved -------------------------------------------------------------------------------------------------------


class Average:
    """An average of weights, as people write it: no state_dict."""

    def __init__(self, model):
        self.model = model
        self.shadow = {name: value.detach().clone() for name, value in model.named_parameters()}

    def update(self):
        for name, value in self.model.named_parameters():
            self.shadow[name].lerp_(value.detach(), 0.5)


class Everything:
    def __init__(self):
        self.model = nn.Linear(3, 2)
        self.average = Average(self.model)
        self.parts = [nn.Linear(2, 2), nn.Linear(2, 2)]
        self.named = {"a": SGD(self.parts[0].parameters(), lr=0.1, momentum=0.9), 3: [1, 2]}
        self.weight = nn.Parameter(torch.ones(2))
        self.optimizer = AdamW([self.weight, *self.model.parameters()])
        self.scaler = torch.amp.GradScaler("cpu")
        self.generators = [torch.Generator(), np.random.default_rng(0), np.random.RandomState(0), random.Random(0)]
        self.history, self.best, self.kept = [], None, None
        self.counts, self.seen, self.recent = Counter(), set(), deque(maxlen=2)
        self.array = np.zeros(3, np.float32)
        self.loss = nn.CrossEntropyLoss()
        self.function = lambda x: x

    def step(self):
        draws = [torch.rand(1, generator=self.generators[0]), *(each.random() for each in self.generators[1:2])]
        draws += [self.generators[2].random_sample(), self.generators[3].random()]
        for optimizer in (self.named["a"], self.optimizer):
            optimizer.zero_grad()
        output = self.parts[0](self.model(torch.ones(3)) * self.weight).sum() * float(sum(draws))
        value = output.item()
        self.scaler.scale(output).backward()
        for optimizer in (self.named["a"], self.optimizer):
            self.scaler.step(optimizer)
        self.scaler.update()
        self.average.update()
        self.named[3].append(len(self.history))
        self.counts[len(self.history)] += 1
        self.seen.add(len(self.history))
        self.recent.append(len(self.history))
        self.history.append((value, {"draws": [float(draw) for draw in draws]}))
        self.best = min(self.best or 0.0, value)
        self.kept = copy.deepcopy(self.model.state_dict())
        self.array += np.float32(value)
        return value


def test_every_kind_of_attribute_survives_a_checkpoint():
    trained = Everything()
    for _ in range(3):
        trained.step()
    found = Everything()
    saved = snapshot(trained)
    arrays = packed(saved.content, "self") | packed(saved.generators, "generators")
    load(found, unpacked(arrays, "self"), saved.states, unpacked(arrays, "generators"))
    assert [found.step() for _ in range(3)] == [trained.step() for _ in range(3)]
    assert found.history == trained.history
    assert found.named[3] == trained.named[3]
    assert (found.counts, found.seen, found.recent) == (trained.counts, trained.seen, trained.recent)
    assert (type(found.counts), found.recent.maxlen) == (Counter, 2)
    assert found.kept.keys() == trained.kept.keys()
    np.testing.assert_array_equal(found.array, trained.array)
    for name, value in trained.average.shadow.items():
        assert torch.equal(found.average.shadow[name], value)


class WithEstimator:
    def __init__(self, hparams):
        self.estimator = SGDClassifier(alpha=hparams["lr"], random_state=0)

    def train(self, batches):
        for inputs, targets in batches:
            self.estimator.partial_fit(inputs, targets, classes=[0, 1, 2])

    def evaluate(self, examples):
        return sum((self.estimator.predict(inputs) != targets.numpy()).sum() for inputs, targets in examples)


class LateOptimizer(Training):
    def __init__(self, hparams, steps):
        super().__init__(hparams, steps)
        self.extra = None

    def train(self, batches):
        super().train(batches)
        self.extra = self.extra or SGD(self.model.parameters(), lr=0.1, momentum=0.9)


class Unserializable(Training):
    class Odd:
        def state_dict(self):
            return {"odd": object()}

        def load_state_dict(self, state):
            """Do nothing."""

    def __init__(self, hparams, steps):
        super().__init__(hparams, steps)
        self.counter = self.Odd()


@pytest.mark.parametrize(
    ("cls", "words"),
    [
        (WithEstimator, r"self\.estimator"),
        (LateOptimizer, r"self\.extra.*__init__"),
        (Unserializable, r"self\.counter"),
    ],
)
def test_a_state_that_cannot_be_saved_is_refused_by_name_before_anything_starts(tmp_path, cls, words):
    with pytest.raises(hpo.InputError, match=words) as caught:
        tune(cls, tmp_path / "run", **DATA)
    assert cls.__name__ in str(caught.value)
    assert not (tmp_path / "run/results.json").exists()


class Shared(Training):
    count = [0]  # noqa: RUF012

    def train(self, batches):
        super().train(batches)
        self.count[0] += 1
        with torch.no_grad():
            self.model[0].weight.add_(self.count[0] / 100)


def test_state_that_members_share_is_refused_by_name(tmp_path):
    with pytest.raises(hpo.InputError, match=r"Shared\.count"):
        tune(Shared, tmp_path / "run", **DATA)


@pytest.mark.parametrize("name", ["../out", "/tmp/out", "a/../../out"])
def test_a_checkpoint_writes_only_inside_its_folder(tmp_path, name):
    (tmp_path / "from").mkdir()
    (tmp_path / "from/file").write_bytes(b"x")
    (arrays,) = folder_arrays(tmp_path / "from").values()
    with pytest.raises(HpoError, match="outside"):
        write_folder({f"folder/{name}": arrays}, tmp_path / "to")
    assert {path.name for path in tmp_path.iterdir()} <= {"from", "to"}


# --- bad input -----------------------------------------------------------------------------------------------------------


class NoEvaluate:
    def __init__(self, hparams): ...

    def train(self, steps): ...


class WithoutLoad(Converging):
    def save(self, folder): ...


class Failing(Training):
    def train(self, batches):
        raise ZeroDivisionError("here")


LEVEL = {"level": hpo.Float(0.1, 0.9)}


@pytest.mark.parametrize(
    ("cls", "options", "words"),
    [
        (NoEvaluate, {}, "no evaluate"),
        (WithoutLoad, {"space": LEVEL}, "load"),
        (Converging, {"space": LEVEL, "trials": 3}, "population_size"),
        (Converging, {"space": LEVEL, "budget": None}, "budget"),
        (Converging, {"space": LEVEL, "metric": "error", "optimizer": "tpe"}, None),
        (Converging, {}, "level"),
        (Training, {**DATA, "validation_size": 0}, "validation_size"),
        (Training, {**DATA, "validation": 60}, "validation_size"),
        (Training, {**DATA, "metric": "eror"}, "eror"),
        (Training, {**DATA, "space": {**SPACE, "mommentum": hpo.Float(0, 1)}}, "mommentum"),
        (Failing, DATA, "Failing.*ZeroDivisionError: here"),
    ],
)
def test_what_is_wrong_is_named_before_anything_starts(tmp_path, cls, options, words):
    if words is None:
        tune(cls, tmp_path / "run", **options)
        return
    with pytest.raises(hpo.InputError, match=words):
        tune(cls, tmp_path / "run", **options)
    assert not (tmp_path / "run/results.json").exists()


def test_the_unit_is_epochs_with_data_and_steps_without():
    assert (LoopTask(Training, data).unit, LoopTask(Files).unit, LoopTask(Files, unit="rounds").unit) == (
        "epochs",
        "steps",
        "rounds",
    )


class Counting:
    """A class that counts its examples, in batches of a searched size."""

    def __init__(self, hparams):
        self.sizes = []

    def train(self, batches, hparams):
        assert hparams["batch_size"] >= 2 * hparams["minibatch"]
        self.sizes = [len(inputs) for inputs, _ in batches]

    def evaluate(self, examples):
        return {"error": 0.5, "largest": max(self.sizes), "examples": sum(self.sizes)}


def test_the_batch_size_is_searched_under_a_rule(tmp_path):
    space = {"batch_size": hpo.Int(8, 64, log=True), "minibatch": hpo.Int(1, 32)}
    pbt = {"optimizer": "pbt", "explore": "all", "perturbation": {"name": "gaussian", "sigma": 0.3}}
    options = DATA | {"feasible": lambda hparams: hparams["batch_size"] >= 2 * hparams["minibatch"]}
    found = tune(Counting, tmp_path, space, **options, optimizer=pbt)
    frame = found.frame()
    assert (frame["largest"] == frame["batch_size"]).all()
    assert (frame["examples"] == 180).all()
    assert frame.query("member == 0")["batch_size"].nunique() > 1
    assert found.results["replicates"][0]["arms"]["pbt"]["infeasible_proposals"] > 0


def test_a_batch_size_that_changes_in_flight_is_refused_if_the_class_counts_on_its_steps(tmp_path):
    sizes = {"batch_size": hpo.Categorical((16, 32), ordered=True)}
    with pytest.raises(hpo.InputError, match=r"fixed = true in \[task.search_space.batch_size\]"):
        tune(Training, tmp_path, SPACE | sizes, **DATA)
    fixed = {"batch_size": hpo.Categorical((16, 32), fixed=True)}
    frame = tune(Training, tmp_path, SPACE | fixed, **DATA).frame()
    taken = {16: 12, 32: 6}  # steps in an interval of 180 examples
    for row in frame.itertuples():
        assert row.taken == taken[row.batch_size] * (row.interval + 1)
