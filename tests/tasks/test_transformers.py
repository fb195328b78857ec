"""The Trainer of Hugging Face transformers as the training loop of a task."""

import gc
import random
import tempfile

import numpy as np
import pytest
import torch
from trainer_tasks import SMALL, assert_copied, assert_named_when_missing, assert_shown, assert_stopped, with_parents

pytest.importorskip("transformers")

import hf_trainer as example
from transformers import EarlyStoppingCallback, TrainerCallback

import hpo
from hpo.core.errors import HpoError
from hpo.tasks.torch.numerics import strict_scope

SPACE = {"lr": hpo.Float(1e-3, 1e-1, log=True), "weight_decay": hpo.Float(1e-4, 1e-1, log=True)}
STEPS = 8  # in an epoch
WARMUP = 4


@pytest.fixture(autouse=True)
def _fast():
    """One thread, and few objects: the trainer collects garbage at its start."""
    gc.freeze()
    with strict_scope(1, cuda=False):
        yield
    gc.unfreeze()


class Recorder(TrainerCallback):
    """Records the options of each optimizer step."""

    def __init__(self):
        self.seen = []

    def on_pre_optimizer_step(self, args, state, control, optimizer, **_):
        self.seen.append([[group["lr"], group["weight_decay"]] for group in optimizer.param_groups])


class Training(example.Training):
    def trainer(self, hparams, **arguments):
        found = super().trainer(hparams, **arguments)
        self.recorder = Recorder()
        found.add_callback(self.recorder)
        return found

    def train(self, steps):
        super().train(steps)
        self.seen = self.recorder.seen

    def evaluate(self):
        (first, decay), (_, none) = self.seen[0]
        shown = {"first": first, "last": self.seen[-1][0][0], "decay": decay, "none": none, "taken": len(self.seen)}
        return {**super().evaluate(), **shown}


def share(step, steps):
    """Return the share of the largest rate: a warmup, and a cosine that falls to 0."""
    return step / WARMUP if step < WARMUP else (1 + np.cos(np.pi * (step - WARMUP) / (steps - WARMUP))) / 2


@pytest.mark.parametrize(("unit", "interval"), [("epochs", 1), ("steps", 5)])
def test_after_every_copy_mutated_hyperparameters_are_in_force_under_a_live_schedule(
    tmp_path, monkeypatch, capfd, unit, interval
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    options = {"metric": "eval_loss", "unit": unit, "budget": 3 * interval, "interval": interval}
    frame = hpo.tune(Training, SPACE, out="run", **SMALL, **options).frame()
    assert_copied(frame, "lr", "weight_decay")
    steps = STEPS if unit == "epochs" else interval
    for row in frame.itertuples():
        assert row.taken == steps
        assert (row.decay, row.none) == (row.weight_decay, 0)
        shares = [share(row.interval * steps + step, 3 * steps) for step in (0, steps - 1)]
        np.testing.assert_allclose([row.first / row.lr, row.last / row.lr], shares, rtol=1e-9)
    assert {path.name for path in tmp_path.iterdir()} == {"run", "temporary"}
    assert not list((tmp_path / "temporary").iterdir())
    assert capfd.readouterr() == ("", "")


class Exact(example.Training):
    """Its training draws no random numbers except for the order of the data."""

    def trainer(self, hparams, **arguments):
        found = super().trainer(hparams, **arguments)
        for module in found.model.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = 0.0
        return found


def trained(cls, lengths, unit="epochs", budget=12):
    torch.manual_seed(0)
    loop = cls({"lr": 0.01, "weight_decay": 0.01}, budget, unit, "cpu")
    loop.data_seed = 5
    for length in lengths:
        loop.train(range(length))
    return loop


@pytest.mark.parametrize(("unit", "lengths"), [("epochs", [1, 1]), ("steps", [3, 7, 2])])
def test_one_interval_and_many_train_the_same(unit, lengths):
    one, many = trained(Exact, [sum(lengths)], unit), trained(Exact, lengths, unit)
    assert one.evaluate() == many.evaluate()
    weights = [loop.model().state_dict() for loop in (one, many)]
    assert all(torch.equal(value, weights[1][name]) for name, value in weights[0].items())


def test_noise_comes_from_the_global_generators_and_the_order_of_the_data_stays():
    loop = trained(example.Training, [1])
    start, order = loop.checkpoint, loop.data_seed
    found = []
    for seed in (1, 1, 2):
        random.seed(seed)
        loop.checkpoint = start
        loop.train(range(1))
        found.append(loop.evaluate()["eval_loss"])
    assert found[0] == found[1] != found[2]
    assert loop.data_seed == order != example.Training(loop.hparams, 1, "epochs", "cpu").data_seed


class Batches(Training):
    """The batch size is a hyperparameter; an epoch has 3 to 12 steps."""

    def trainer(self, hparams, **arguments):
        found = super().trainer({**hparams, "weight_decay": 0.0}, **arguments)
        found._train_batch_size = found.args.per_device_train_batch_size = hparams["batch_size"]
        return found


def test_an_epoch_stays_an_epoch_when_the_batch_size_changes(tmp_path):
    space = {"lr": SPACE["lr"], "batch_size": hpo.Int(10, 40, log=True)}
    options = {"metric": "eval_loss", "unit": "epochs", "budget": 3}
    frame = hpo.tune(Batches, space, out=tmp_path, **SMALL, **options).frame()
    assert_copied(frame, "lr")
    assert any(row.batch_size != parent.batch_size for row, parent in with_parents(frame))
    for row in frame.itertuples():
        assert row.taken == -(-120 // row.batch_size)
        steps = 3 * row.taken
        last = share(steps * (row.interval + 1) / 3 - 1, steps)
        assert row.last / row.lr == pytest.approx(last, rel=1e-9)


class Stopping(example.Training):
    def trainer(self, hparams, **arguments):
        arguments |= {"eval_strategy": "epoch", "metric_for_best_model": "loss", "greater_is_better": False}
        found = super().trainer({"lr": 0.01, "weight_decay": 0.0}, **arguments)
        found.add_callback(EarlyStoppingCallback(hparams["patience"], early_stopping_threshold=100.0))
        return found


@pytest.mark.parametrize(("interval", "ends"), [(1, [0, 0, 1]), (2, [0, 1])])
def test_a_member_that_stops_early_is_finished_and_charged_no_more(tmp_path, interval, ends):
    """It stops after three epochs, within an interval or at its end."""
    assert_stopped(Stopping, "eval_loss", tmp_path, interval, ends)


def test_another_unit_is_refused():
    with pytest.raises(HpoError, match="'epochs' or 'steps'"):
        trained(example.Training, [1], "tokens")


def test_the_page_shows_the_example():
    assert_shown("hf_trainer")


def test_a_missing_library_is_an_error_that_names_the_extra(monkeypatch):
    assert_named_when_missing(monkeypatch, "transformers", "transformers")
