"""Trains members on few batches, and stores nothing."""

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from hpo.core.checkpoints import LastCheckpoint, decode, encode
from hpo.core.errors import Interrupted
from hpo.core.seeding import Streams, forked_generators
from hpo.core.segments import HParams, RecordingHParams, Split
from hpo.core.task import Batches, Diverged, Examples, Task
from hpo.execution.runner import Runner
from hpo.execution.sanity.failures import caught, failed
from hpo.execution.sanity.first_and_last import (
    FirstAndLast,
    first_and_last,
    first_and_last_examples,
    later_intervals,
)
from hpo.study.spec import StudySpec


@dataclass(frozen=True)
class Trained:
    """A member after training.

    Args:
        hparams: its hyperparameters.
        state: in memory.
        metrics: the declared ones; empty if it was not evaluated.
        saved: the checkpoint of the state.
    """

    hparams: RecordingHParams
    state: Any
    metrics: Mapping[str, float]
    saved: bytes


class Members(Runner):
    """Trains members of a study as the engine does, on the first and the last batch, with random streams of its own.

    Every method raises `InputError` if the task raises, and `Diverged` if a number is not finite.

    Args:
        spec: the study.
        task: its task, on its device.
    """

    def __init__(self, spec: StudySpec, task: Task[Any]) -> None:
        super().__init__(task, spec.interval, LastCheckpoint(), spec.intervals)
        self.task = task
        self.sizes = (
            () if self._plan.data is None else (len(self._plan.data) - task.validation_size, len(self._plan.data))
        )
        """Training examples of the search and the full split."""
        self.finished: list[HParams] = []
        """The hyperparameters of the members that were trained on both splits and evaluated."""
        self.diverged: list[str] = []
        """Why members diverged, and with which hyperparameters."""
        self.recorded: list[RecordingHParams] = []
        """The hyperparameters of all members, and which of them were read."""
        self.saw_all = True
        """Whether nothing failed in later intervals; otherwise a hyperparameter may be read there unnoticed."""
        self.second = min(1, spec.intervals - 1)
        """The interval after the first one, if there is one."""
        self._seed, self._intervals = spec.seeds[0], spec.intervals

    def try_out(self, hparams: HParams) -> Trained | None:
        """Train a new member on both splits, and return it as it was after the search split; None if it diverged."""
        recorded = self.recording(hparams)
        try:
            root = self._root(recorded)
            member = self.train_segment(self.restored(root, recorded), root, recorded, Split.SEARCH, 0)
            self.train_segment(self.restored(root, recorded), root, recorded, Split.FULL, 0)
        except Diverged as why:
            self.diverged.append(f"{str(why) or 'Diverged'}, with the hyperparameters {dict(hparams)}")
            return None
        self._look_ahead(root, recorded)
        self.finished.append(hparams)
        return member

    def first(self, hparams: HParams) -> Trained | None:
        """Train a new member on the search split alone, and return it; None if it diverged."""
        recorded = self.recording(hparams)
        try:
            root = self._root(recorded)
            return self.train_segment(self.restored(root, recorded), root, recorded, Split.SEARCH, 0)
        except Diverged:
            return None

    def _root(self, hparams: RecordingHParams) -> bytes:
        with forked_generators(self._key("initialize")), failed(self.task, "initialize", hparams):
            return encode(self.task.to_arrays(self.task.initialize(hparams)))

    def _look_ahead(self, root: bytes, hparams: RecordingHParams) -> None:
        """Train the new member on later intervals.

        Raises:
            InputError: the last batch fails. Other failures are ignored: real members get there with more training.
        """
        for split in Split:
            for k in later_intervals(self._plan, split, self._intervals, self._size(hparams)):
                batches = self._first_and_last(hparams, split, k)
                try:
                    self._trained(self.restored(root, hparams), hparams, batches, k)
                except Interrupted:
                    raise
                except BaseException:
                    self.saw_all = False
                    if hint := self._batch_hint(root, hparams, batches, k):
                        with failed(self.task, f"train ({split} split)", hparams, hint):
                            raise

    def recording(self, hparams: HParams) -> RecordingHParams:
        """Return hyperparameters to train a member with."""
        recorded = RecordingHParams(hparams)
        self.recorded.append(recorded)
        return recorded

    def restored(self, saved: bytes, hparams: HParams) -> Any:
        """Return the state of a checkpoint, with these hyperparameters applied."""
        with forked_generators(self._key("restore")), failed(self.task, "from_arrays", hparams):
            return self._restore(decode(saved), hparams)

    def train_segment(self, state: Any, before: bytes, hparams: RecordingHParams, split: Split, k: int) -> Trained:
        """Train on the first and the last batch of an interval, evaluate, and encode the state.

        Args:
            state: to train.
            before: the checkpoint before training, for finding out whether the last batch is at fault.
            hparams: to train with.
            split: members are evaluated on the search split only.
            k: the interval.
        """
        batches = self._first_and_last(hparams, split, k)
        try:
            state = self._trained(state, hparams, batches, k)
        except (Diverged, Interrupted):
            raise
        except BaseException:
            with failed(self.task, f"train ({split} split)", hparams, self._batch_hint(before, hparams, batches, k)):
                raise
        metrics = self._metrics(state, hparams, k) if split is Split.SEARCH else {}
        with failed(self.task, "to_arrays", hparams):
            arrays = self.task.to_arrays(state)
            saved = encode(arrays)
            if not self.task.is_finite(arrays):
                raise Diverged("the state contains a number that is not finite")
        return Trained(hparams, state, metrics, saved)

    def _first_and_last(self, hparams: HParams, split: Split, k: int) -> FirstAndLast | range:
        with failed(self.task, "uses_budget", hparams):
            batches = self._batches(self._seed, split, k, hparams)
        return first_and_last(batches)

    def _trained(self, state: Any, hparams: HParams, batches: Batches | range, k: int) -> Any:
        with forked_generators(self._key("noise", k)):
            return self.task.train(state, hparams, batches)

    def _metrics(self, state: Any, hparams: HParams, k: int) -> dict[str, float]:
        """Return the declared metrics on a few validation examples, or on all of them if that fails."""
        whole = self._plan.validation(self._seed)
        some = first_and_last_examples(whole, self._plan.batch_size)

        def measured(data: Examples | None) -> dict[str, float]:
            with forked_generators(self._key("evaluation", k)):
                found = self._evaluated(state, data).metrics
            if wrong := [name for name, value in found.items() if not math.isfinite(value)]:
                raise Diverged(f"not a finite number: the metric {', '.join(wrong)}")
            return {metric.name: found[metric.name] for metric in self.task.metrics}

        if some is not whole:
            with caught():  # a class may be missing among them, for example
                return measured(some)
        with failed(self.task, "evaluate", hparams):
            return measured(whole)

    def _batch_hint(self, before: bytes, hparams: RecordingHParams, batches: Batches | range, k: int) -> str:
        """Return a hint that the last batch is at fault, if training succeeds without it."""
        if not isinstance(batches, FirstAndLast) or self._plan.data is None:
            return ""
        size = self._size(hparams)
        if size >= len(batches.whole):
            return ""
        with caught() as errors:
            self._trained(self.restored(before, hparams), hparams, replace(batches, drop_last=True), k)
        if errors:
            return ""
        rest = replace(batches, size=size).last_size
        is_option = any(field.name == "drop_last" for field in dataclasses.fields(self.task))  # type: ignore[arg-type]
        return (
            f"The last batch of an interval fails: it has {rest} of {len(batches.whole)} examples at a batch size of {size}."
            f" {'Set drop_last = true in [task]' if is_option else 'Set the class attribute drop_last = True'} to leave it out, or"
            " choose another batch size, validation size or interval"
        )

    def _size(self, hparams: RecordingHParams) -> int:
        """Return the batch size, unrecorded; 0 if there are no batches."""
        return self._batch_size(hparams.given) or 0

    def _key(self, purpose: str, interval: int = -1) -> int:
        return Streams(self._seed).key(f"sanity/{purpose}", interval=interval, shared=True)
