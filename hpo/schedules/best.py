"""The best hyperparameters that a study found, chosen on the validation sets and never on the test set."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass

import tomli_w

from hpo.core.segments import HParams, Segment
from hpo.results.document import Evidence, Measurement, Metrics
from hpo.schedules.from_results import schedule_along, schedule_of
from hpo.schedules.schedule import Schedule
from hpo.statistics.ties import tied


@dataclass(frozen=True)
class Best:
    """The answer of the search with the best validation value.

    Args:
        arm: the arm's label.
        seed: the replicate's seed.
        hparams: the hyperparameters at the start of training; if the schedule is constant, all of it.
        schedule: the hyperparameters over time.
        metric: the metric that the searches optimized.
        value: its value on the validation set.
        tested: whether there is a test; that of a function is its best trial, once more.
        tied: the (arm, seed) of other answers with the same value, in the study's order.
        test: the test metrics of the model that was retrained along the schedule, by name; None if it diverged.
        final: whether its search has ended; otherwise it is the best segment so far, which was not tested.
    """

    arm: str
    seed: int
    hparams: HParams
    schedule: Schedule
    metric: str
    value: float
    test: Metrics
    tested: bool = True
    tied: tuple[tuple[str, int], ...] = ()
    final: bool = True

    def __repr__(self) -> str:
        on = "validation " if self.tested else ""
        test = f", test={self.test}" if self.tested and self.final else ""
        more = ", the rest is in .schedule" if self.changes else ""
        found = f"{on}{self.metric} {self.value:.6g}: hparams={dict(self.hparams)}{more}"
        return f"Best({found}, arm={self.arm!r}, seed={self.seed}{test})"

    @property
    def changes(self) -> bool:
        """Whether hyperparameters change during training, or weights are transformed."""
        return len(self.schedule.steps()) > 1

    def to_toml(self, run_dir: object | None = None) -> str:
        """Return `hparams` as TOML, in full precision, with comments that name their origin.

        `tomllib` reads the same `hparams` back. Unprintable characters are escaped.

        Args:
            run_dir: the run directory; if given and the schedule changes, a comment shows how to export all of it.
        """
        lines = self.origin()
        if self.changes:
            lines.append("# the first values: they change during training")
            if run_dir is not None and self.final:
                where = ", in this folder" if str(run_dir) == "." else ""
                lines += [f"# the whole schedule{where}:", f"# {self._export_command(run_dir)}"]
        lines += tomli_w.dumps(dict(self.hparams)).rstrip("\n").split("\n")
        return "".join(f"{escaped(line)}\n" for line in lines)

    def origin(self) -> list[str]:
        """Return lines that name its origin and values, as comments of TOML or Python."""
        name = self.metric
        if not self.final:
            validation = "validation " * self.tested
            lines = [f"# best so far: {validation}{name} {self.value:.6g}, arm {self.arm}, seed {self.seed}"]
        elif self.tested:
            lines = [
                f"# best answer by validation {name}: arm {self.arm}, seed {self.seed}",
                f"# validation {name} {self.value:.6g}, test {name} {_shown(self.test.get(name))}",
            ]
        else:
            lines = [f"# best: {name} {self.value:.6g}, arm {self.arm}, seed {self.seed}"]
        if self.tied:
            (arm, seed), more = self.tied[0], len(self.tied) - 1
            lines.append(f"# tied with arm {arm}, seed {seed}" + (f", and {more} more" if more else ""))
        return list(map(escaped, lines))

    def replay_command(self, run_dir: object) -> str | None:
        """Return the command that trains the answer's model again; None unless a study retrained and tested it."""
        return self._replay(run_dir, "--seed", str(self.seed)) if self.tested and self.final else None

    def _export_command(self, run_dir: object) -> str:
        return self._replay(run_dir, "--export", "best.toml")

    def _replay(self, run_dir: object, *options: str) -> str:
        where = ["--arm", self.arm, "--schedule-seed", str(self.seed)]
        return shlex.join(["hpo", "replay", str(run_dir), *where, *options])


def best_of(results: Evidence) -> Best | None:
    """Return the best answer of all arms and finished replicates, or None if there is none.

    It has the best validation value of the metric that the searches optimize, in that metric's direction. Values that differ
    only by rounding (hpo/statistics/ties.py) tie: the first arm in the study file wins, and then its lowest seed. Test values
    are ignored. Searches whose answer diverged are left out, and so are derived arms, whose schedules were not evaluated on a
    validation set.
    """
    metric = results.task.metric(results.task.primary)
    found: list[tuple[float, str, int]] = []
    for label in (arm.label for arm in results.arms if arm.derived_from is None):
        for replicate in sorted(results.replicates, key=lambda replicate: replicate.seed):
            value = replicate.arms[label].validation.get(metric.name)
            if value is not None:
                found.append((value, label, replicate.seed))
    if not found:
        return None
    values = [value for value, _, _ in found]
    ties = tied(values, max(values, key=metric.oriented), 0.0)  # scale 0: other searches' values may be of any size
    (value, arm, seed), *others = (each for each, tie in zip(found, ties, strict=True) if tie)
    entry = next(replicate.arms[arm] for replicate in results.replicates if replicate.seed == seed)
    schedule = schedule_of(results, entry, arm, seed)
    return Best(
        arm,
        seed,
        schedule.hparams[0],
        schedule,
        metric.name,
        value,
        entry.test,
        tested=results.tested,
        tied=tuple(other[1:] for other in others),
    )


def best_so_far(results: Evidence, arm: str, seed: int, path: Sequence[Segment], value: float) -> Best:
    """Return the best segment of searches that have not ended.

    Args:
        results: of the unfinished study.
        arm: the arm's label.
        seed: the replicate's seed.
        path: the segment's lineage, from the root.
        value: of the primary metric.
    """
    schedule, metric = schedule_along(results, path, arm, seed), results.task.primary
    return Best(arm, seed, schedule.hparams[0], schedule, metric, value, {}, tested=results.tested, final=False)


def _shown(value: Measurement) -> str:
    return "undefined" if value is None else f"{value:.6g}"


def escaped(line: str) -> str:
    """Return a line of TOML with unprintable characters escaped."""
    return "".join(letter if letter.isprintable() else f"\\U{ord(letter):08X}" for letter in line)
