"""PyTorch Lightning as the training loop of a task."""

import tempfile

import numpy as np
import pytest
import torch
from trainer_tasks import SMALL, assert_copied, assert_named_when_missing, assert_shown, assert_stopped

pytest.importorskip("lightning")

import lightning
import lightning_task as example
from lightning.pytorch.callbacks import EarlyStopping
from torch.optim import SGD
from torch.optim.lr_scheduler import OneCycleLR
from torch.utils.data import DataLoader

import hpo
from hpo.core.errors import HpoError
from hpo.study.identity import task_identity
from hpo.tasks.loop import LoopTask
from hpo.tasks.torch.numerics import strict_scope

RATES = {"lr": hpo.Float(1e-3, 1e-1, log=True)}


@pytest.fixture(autouse=True)
def _one_thread():
    with strict_scope(1, cuda=False):
        yield


class Recording(example.Classifier):
    """Records the learning rate of each optimizer step."""

    def __init__(self, lr):
        super().__init__(lr, dropout=0.2)
        self.rates = []

    def on_before_optimizer_step(self, optimizer):
        self.rates.append(optimizer.param_groups[0]["lr"])


class Training(example.Training):
    def module(self, hparams):
        self.recording = Recording(hparams["lr"])
        return self.recording

    def train(self, steps):
        super().train(steps)
        self.rates = self.recording.rates

    def evaluate(self):
        rates = {"first": self.rates[0], "last": self.rates[-1], "taken": len(self.rates)}
        return {**super().evaluate(), **rates}


def shares(steps):
    """Return the share of the largest rate in each step of the one-cycle schedule."""
    schedule = OneCycleLR(SGD([torch.zeros(1)], lr=1.0), 1.0, total_steps=steps, cycle_momentum=False)
    found = []
    for _ in range(steps):
        found.append(schedule.get_last_lr()[0])
        schedule.optimizer.step()
        if len(found) < steps:
            schedule.step()
    return found


@pytest.mark.parametrize(("unit", "interval"), [("epochs", 1), ("steps", 4)])
def test_after_every_copy_the_mutated_rate_is_in_force_under_a_live_schedule(
    tmp_path, monkeypatch, capfd, unit, interval
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    options = {"metric": "val_loss", "unit": unit, "budget": 3 * interval, "interval": interval}
    frame = hpo.tune(Training, RATES, out="run", **SMALL, **options).frame()
    assert_copied(frame, "lr")
    steps = 6 if unit == "epochs" else interval  # in an interval
    share = shares(3 * steps)
    for row in frame.itertuples():
        assert row.taken == steps
        first = row.interval * steps
        np.testing.assert_allclose(
            [row.first / row.lr, row.last / row.lr], [share[first], share[first + steps - 1]], rtol=1e-9
        )
    assert {path.name for path in tmp_path.iterdir()} == {"run", "temporary"}
    assert not list((tmp_path / "temporary").iterdir())
    assert capfd.readouterr() == ("", "")


class Exact(example.Training):
    """Its training draws no random numbers."""

    def module(self, hparams):
        return example.Classifier(hparams["lr"], dropout=0.0)

    def data(self, hparams):
        found = example.Blobs()
        found.train_dataloader = lambda: DataLoader(found.parts[0], batch_size=25)
        return found


def test_one_interval_and_many_train_the_same():
    def trained(*lengths):
        torch.manual_seed(0)
        loop = Exact({"lr": 0.01}, 3, "epochs", "cpu")
        for length in lengths:
            loop.train(range(length))
        return loop

    one, many = trained(3), trained(1, 1, 1)
    assert one.evaluate() == many.evaluate()
    weights = [loop.model().state_dict() for loop in (one, many)]
    assert all(torch.equal(value, weights[1][name]) for name, value in weights[0].items())


class Stopping(example.Training):
    def trainer(self, hparams, callbacks, **options):
        stop = EarlyStopping("val_loss", min_delta=100.0, patience=hparams["patience"])
        return super().trainer(hparams, callbacks=[*callbacks, stop], **options)

    def module(self, hparams):
        return example.Classifier(0.01, 0.0)


@pytest.mark.parametrize(("interval", "ends"), [(1, [0, 0, 1]), (2, [0, 1])])
def test_a_member_that_stops_early_is_finished_and_charged_no_more(tmp_path, interval, ends):
    """It stops after three epochs, within an interval or at its end."""
    assert_stopped(Stopping, "val_loss", tmp_path, interval, ends)


class Long(example.Training):
    def trainer(self, hparams, **options):
        return super().trainer(hparams, min_epochs=2, **options)


class Unsaved(example.Training):
    def module(self, hparams):
        found = super().module(hparams)
        found.on_save_checkpoint = lambda checkpoint: checkpoint.update(seen=torch.Size([1]))
        return found


def test_a_checkpoint_that_is_not_plain_data_is_refused_by_name(tmp_path):
    space = RATES | {"dropout": hpo.Float(0, 0.5)}
    with pytest.raises(hpo.InputError, match=r"checkpoint\.seen holds a Size"):
        hpo.tune(Unsaved, space, out=tmp_path / "run", metric="val_loss", unit="epochs", budget=2, **SMALL)
    assert not (tmp_path / "run/results.json").exists()


@pytest.mark.parametrize(
    ("cls", "unit", "words"), [(example.Training, "batches", "'epochs' or 'steps'"), (Long, "epochs", "min_epochs")]
)
def test_what_cannot_be_stopped_is_refused(cls, unit, words):
    with pytest.raises(HpoError, match=words):
        cls({"lr": 0.01, "dropout": 0.1}, 4, unit, "cpu").train(range(1))


def test_results_depend_on_the_source_of_the_adapter_and_on_the_library():
    task = LoopTask(example.Training, unit="epochs")
    assert "hpo/tasks/lightning.py" in task_identity(task, "loop")["code"]
    assert task.numerics()["lightning"] == lightning.__version__


class Interrupted(example.Classifier):
    def training_step(self, batch, _):
        raise KeyboardInterrupt


def test_ctrl_c_stays_an_interruption(monkeypatch):
    monkeypatch.setattr(example, "Classifier", Interrupted)
    loop = example.Training({"lr": 0.01, "dropout": 0.1}, 2, "epochs", "cpu")
    with pytest.raises(KeyboardInterrupt):
        loop.train(range(1))


def test_the_page_shows_the_example():
    assert_shown("lightning_task")


def test_a_missing_library_is_an_error_that_names_the_extra(monkeypatch):
    assert_named_when_missing(monkeypatch, "lightning", "lightning")
