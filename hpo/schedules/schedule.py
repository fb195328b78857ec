"""Schedules: hyperparameters over time, to save to a file, show as a table, replay, or use in another training loop.

The answer of population based training is not a set of hyperparameters but a schedule of them (Jaderberg et al., "Population based
training of neural networks", arXiv:1711.09846, 2017, Section 4.4). `hpo.load_schedule` reads it from a run directory.

>>> halved = Schedule.of([(5, {"lr": 0.1}), (5, {"lr": 0.05})], unit="epochs")
>>> halved.at(4.9), halved.at(5)
({'lr': 0.1}, {'lr': 0.05})
>>> print(halved.stretched(20).to_csv(), end="")
from,to,unit,lr
0.0,10.0,epochs,0.1
10.0,20.0,epochs,0.05
"""

import io
import math
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any

import tomli_w
from annotated_types import Ge, Gt, Le, MinLen

from hpo.core import options
from hpo.core.amounts import amount
from hpo.core.csv_files import cell, rows_into
from hpo.core.errors import OptionError, SpecError, did_you_mean
from hpo.core.files import write_named
from hpo.core.locks import explained
from hpo.core.options import Mistakes
from hpo.core.parameters import is_finite
from hpo.core.parsing import TOO_DEEP, is_too_deep, read_toml
from hpo.core.segments import SHRINK_PERTURB, HParams, ReadOnlyHParams, Segment, ShrinkPerturb, Value, schedule_of
from hpo.results.segments_reader import transform_cells, transform_columns

SCHEMA_VERSION = 1
MOST_INTERVALS = 1_000_000
_SAVED = "# A schedule that hpo saved"
"""The first line of schedule files, which distinguishes them from files that a user wrote."""
_COLUMNS = ("from", "to", "unit")
Length = int | float | Fraction


@dataclass(frozen=True)
class Source:
    """The origin of a schedule.

    Args:
        study: the study's name.
        arm: the arm's label.
        seed: the replicate's seed.
        stream: the arm's stream.
    """

    study: str
    arm: str
    seed: Annotated[int, Ge(0)]
    stream: Annotated[int, Ge(0)] = 0


@dataclass(frozen=True)
class Schedule:
    """Hyperparameters over time, constant within each interval.

    Two schedules are equal if their hyperparameters over time and their weight transforms are; the members that trained with them
    do not matter.

    Args:
        hparams: the hyperparameters of each interval, in order; at least one.
        interval: the length of an interval, in `unit`.
        unit: the task's unit of time, such as `epochs`.
        budget: the budget of a member, in intervals, to which a task's own learning rate decay refers; by default the schedule's
            length.
        members: for each interval, the slot that trained it. A replay uses its noise, and the initial weights of the first one.
            None: a replay uses those of a new member.
        places: for each interval, its number in the study, which determines its data and noise. There is a gap where the lineage
            continued from an earlier checkpoint. None: 0, 1, 2, ...
        source: where the schedule comes from; None: not from a study.
        transforms: for each interval, what happens to the weights before it; None in most of them, and always in the first one,
            before which nothing was trained. None: nothing happens in any of them.

    Raises:
        OptionError: an argument is invalid.
    """

    hparams: tuple[HParams, ...]
    interval: Fraction
    unit: str
    budget: int = 0
    members: tuple[int, ...] | None = field(default=None, compare=False)
    places: tuple[int, ...] | None = field(default=None, compare=False)
    source: Source | None = field(default=None, compare=False)
    transforms: tuple[ShrinkPerturb | None, ...] | None = None

    def __post_init__(self) -> None:
        put = object.__setattr__
        put(self, "interval", as_fraction(self.interval, "interval"))
        put(self, "hparams", tuple(_read_only(self.hparams)))
        if not self.unit:
            raise OptionError("unit", self.unit, "the name of a unit, such as epochs")
        if not self.hparams or len(self.hparams) > MOST_INTERVALS:
            raise OptionError("hparams", f"{len(self.hparams)} intervals", f"1 to {MOST_INTERVALS} intervals")
        for option in ("members", "places", "transforms"):
            given = getattr(self, option)
            if given is not None:
                put(self, option, tuple(given))
                if len(given) != len(self):
                    raise OptionError(option, f"{len(given)} of them", f"one for each of {len(self)} intervals")
        if self.transforms is not None:
            if odd := [each for each in self.transforms if not isinstance(each, ShrinkPerturb | None)]:
                raise OptionError("transforms", odd[0], "hpo.ShrinkPerturb, or None")
            if self.transforms[0] is not None:
                raise OptionError("transforms", str(self.transforms[0]), "none in the first interval")
            put(self, "transforms", self.transforms if any(self.transforms) else None)
        if self.places is not None and not all(a < b for a, b in pairwise((-1, *self.places))):
            raise OptionError("places", list(self.places), "numbers from 0, each above the one before")
        needed = len(self) if self.places is None else self.places[-1] + 1
        put(self, "budget", self.budget or needed)
        if not needed <= self.budget <= MOST_INTERVALS:
            allowed = f"at least the schedule's {needed} intervals, and at most {MOST_INTERVALS}"
            raise OptionError("budget", self.budget, allowed)

    def __repr__(self) -> str:
        names = ", ".join(self.names) or "no hyperparameters"
        shrunk = len(self.weight_transforms())
        transforms = f", {shrunk} weight transform{'s' * (shrunk > 1)}" if shrunk else ""
        return f"Schedule({names} over {len(self)} intervals of {amount(float(self.interval), self.unit)}{transforms})"

    def __len__(self) -> int:
        """The number of intervals."""
        return len(self.hparams)

    def __hash__(self) -> int:
        spelled = tuple(tuple(sorted(hparams.items())) for hparams in self.hparams)
        return hash((spelled, self.interval, self.unit, self.budget, self.transforms))

    @staticmethod
    def of(
        stretches: Iterable[tuple[Length, HParams] | tuple[Length, HParams, ShrinkPerturb | None]], unit: str
    ) -> "Schedule":
        """Return a schedule that is constant over stretches, with as few intervals as possible.

        Args:
            stretches: (length in `unit`, hyperparameters), in order; or (length, hyperparameters, weight transform before it).
            unit: such as `epochs`.

        Raises:
            OptionError: there are no stretches, a length is not positive, or too many intervals are needed.
        """
        given = [_stretch(*stretch) for stretch in stretches]
        if not given:
            raise OptionError("stretches", [], "at least one")
        below = math.lcm(*(length.denominator for length, *_ in given))
        counts = [int(length * below) for length, *_ in given]
        common = math.gcd(*counts)
        if sum(counts) > MOST_INTERVALS * common:
            lengths = [str(length) for length, *_ in given]
            raise OptionError("stretches", lengths, f"at most {MOST_INTERVALS} intervals of their common length")
        counts = [count // common for count in counts]
        hparams = [hparams for count, (_, hparams, *_) in zip(counts, given, strict=True) for _ in range(count)]
        transforms: list[ShrinkPerturb | None] = []
        for count, (_, _, transform) in zip(counts, given, strict=True):
            transforms += [transform, *[None] * (count - 1)]
        return Schedule(tuple(hparams), Fraction(common, below), unit, transforms=tuple(transforms))

    @property
    def length(self) -> Fraction:
        """Its length, in `unit`."""
        return self.interval * len(self)

    @property
    def names(self) -> tuple[str, ...]:
        """The hyperparameters, in the order in which they first occur."""
        return tuple(dict.fromkeys(name for hparams in self.hparams for name in hparams))

    def at(self, position: Length) -> HParams:
        """Return the hyperparameters at a position in `unit`, from 0; after the end, the last ones.

        Raises:
            OptionError: the position is negative or not finite.
        """
        if not math.isfinite(position) or position < 0:
            raise OptionError("position", position, f"a number of {self.unit} from 0")
        found = position if isinstance(position, Fraction) else Fraction(str(position))
        return self.hparams[min(int(found / self.interval), len(self) - 1)]

    def stretched(self, length: Length) -> "Schedule":
        """Return the schedule stretched or shrunk as a whole: the same number of intervals, in proportion.

        Args:
            length: the new length, in `unit`.
        """
        return replace(self, interval=as_fraction(length, "length") / len(self))

    # --- tables and files ---------------------------------------------------------------------------------------------

    def steps(self) -> list[tuple[Fraction, Fraction, HParams]]:
        """Return (from, to, hyperparameters), in `unit`; neighbouring intervals with equal ones are merged.

        A step also begins where the weights are transformed; `weight_transforms` returns how.
        """
        path = self._walked(members=None, places=None)
        return [(step.start * self.interval, step.stop * self.interval, step.hparams) for step in schedule_of(path)]

    def weight_transforms(self) -> dict[Fraction, ShrinkPerturb]:
        """Return what happens to the weights, by the position in `unit` before which it does, in order."""
        return {at * self.interval: found for at, found in enumerate(self.transforms or ()) if found is not None}

    @property
    def transformed_at(self) -> str:
        """Where weights are transformed, in words such as `5, 10 epochs`; empty if nowhere."""
        positions = ", ".join(f"{float(at):g}" for at in self.weight_transforms())
        return f"{positions} {self.unit}" if positions else ""

    def segments(self) -> list[Segment]:
        """Return the lineage, from the root: a segment for each interval, without parents.

        Without `members`, all are of slot 0.
        """
        return self._walked(self.members, self.places)

    def _walked(self, members: Sequence[int] | None, places: Sequence[int] | None) -> list[Segment]:
        intervals, none = range(len(self)), (None,) * len(self)
        walked = zip(
            members or (0,) * len(self), places or intervals, self.hparams, self.transforms or none, strict=True
        )
        return [Segment(member, None, place, hparams, transform=found) for member, place, hparams, found in walked]

    def to_csv(self) -> str:
        """Return a CSV table: `from`, `to`, `unit`, and a column for each hyperparameter, empty if it is inactive.

        If weights are transformed, columns such as `transform:shrink` say in which step, and how.
        """
        out = io.StringIO()
        writer = rows_into(out)
        transforms = self.weight_transforms()
        columns = transform_columns(transforms.values())
        writer.writerow([*_COLUMNS, *map(cell, self.names), *columns])
        for start, stop, hparams in self.steps():
            values = [cell(hparams.get(name, "")) for name in self.names]
            transformed = transform_cells(transforms.get(start))
            cells = [cell(transformed.get(name, "")) for name in columns]
            writer.writerow([float(start), float(stop), cell(self.unit), *values, *cells])
        return out.getvalue()

    def to_document(self) -> dict[str, Any]:
        """Return the content of a schedule file, as nested mappings."""
        steps: list[dict[str, Any]] = []
        for step in schedule_of(self.segments()):
            start = steps[-1]["stop"] if steps else 0
            steps.append(
                {"start": start, "stop": start + step.stop - step.start}
                | ({} if self.members is None else {"member": step.member})
                | ({} if step.start == start else {"place": step.start})
                | ({} if step.transform is None else {"transform": step.transform.to_json()})
                | {"hparams": dict(step.hparams)}
            )
        needed = len(self) if self.places is None else self.places[-1] + 1
        exact = Fraction(str(float(self.interval))) == self.interval
        return {
            "schema_version": SCHEMA_VERSION,
            "unit": self.unit,
            "interval": float(self.interval) if exact else str(self.interval),
            **({} if self.budget == needed else {"budget": self.budget}),
            **({} if self.source is None else {"source": asdict(self.source)}),
            "steps": steps,
        }

    def save(self, path: str | Path) -> None:
        """Write a schedule file (TOML), which `Schedule.load` reads.

        Raises:
            InputError: the file exists, and `save` did not write it.
            StoreError: it cannot be written.
        """
        _write(Path(path), self.to_toml(), _SAVED)

    def to_toml(self) -> str:
        """Return the content of a schedule file."""
        return f"{_SAVED}\n{tomli_w.dumps(self.to_document())}"

    def save_csv(self, path: str | Path) -> None:
        """Write the table of `to_csv`.

        Raises:
            InputError: the file exists, and is not such a table.
            StoreError: it cannot be written.
        """
        _write(Path(path), self.to_csv(), ",".join(_COLUMNS))

    @staticmethod
    def load(path: str | Path) -> "Schedule":
        """Return the schedule of a file.

        Raises:
            SpecError: the file is invalid; lists all mistakes.
        """
        path = Path(path)
        return Schedule.from_document(read_toml(path, "schedule file"), file=str(path))

    @staticmethod
    def from_document(document: Mapping[str, Any], *, file: str = "<schedule>") -> "Schedule":
        """Return the schedule of a document with the content of a schedule file.

        Args:
            document: the tables by name.
            file: its name in error messages.

        Raises:
            SpecError: the document is invalid; lists all mistakes.
        """
        problems = Mistakes()
        schedule = _read(document, problems)
        if schedule is None:
            raise SpecError(file, problems)
        return schedule

    # --- for other training loops -------------------------------------------------------------------------------------

    def lr_lambda(self, parameter: str = "lr", *, steps_per_unit: Length, base: float = 1.0) -> Callable[[int], float]:
        """Return a function for `torch.optim.lr_scheduler.LambdaLR`, which multiplies the optimizer's rate by its value.

        Args:
            parameter: the hyperparameter that is the learning rate.
            steps_per_unit: training steps in one `unit`; for example batches per epoch, if the unit is epochs and the scheduler
                steps after every batch.
            base: the learning rate that the optimizer was built with. With 1.0 the rates equal the schedule's to the last bit.

        Warns:
            UserWarning: the schedule also transforms weights.

        Raises:
            OptionError: the schedule does not have this number in every interval, or an argument is not positive.
        """
        values = self.numbers(parameter)
        per_interval = as_fraction(steps_per_unit, "steps_per_unit") * self.interval
        if not (math.isfinite(base) and base > 0):
            raise OptionError("base", base, "a number above 0")
        if due := self.transformed_at:
            what = f"the schedule also changes the weights, at {due}: call hpo.shrink_perturb there"
            warnings.warn(what, UserWarning, stacklevel=2)
        last = len(values) - 1
        return lambda step: values[min(int(step / per_interval), last)] / base

    def numbers(self, name: str, *, booleans: bool = False) -> tuple[float, ...]:
        """Return a hyperparameter's value in each interval.

        Args:
            name: the hyperparameter.
            booleans: also allow booleans.

        Raises:
            OptionError: it is missing in an interval, or not a number.
        """
        if name not in self.names:
            near = did_you_mean(name, self.names)
            raise OptionError("parameter", name, f"one of {', '.join(self.names)}" + (f" ({near})" if near else ""))
        values = [hparams.get(name) for hparams in self.hparams]
        numbers = [value for value in values if isinstance(value, (int, float))]
        if len(numbers) < len(values) or (not booleans and any(isinstance(value, bool) for value in numbers)):
            what = "number or a boolean" if booleans else "number"
            raise OptionError("parameter", name, f"a hyperparameter that is a {what} in every interval")
        return tuple(numbers)


def _write(path: Path, text: str, ours: str) -> None:
    with explained(path):
        write_named(path, text.encode(), ours.encode())


def as_fraction(length: object, option: str) -> Fraction:
    """Return a length as the exact decimal fraction that was written: 0.1 is 1/10.

    Raises:
        OptionError: it is not a number above 0 that a float can hold.
    """
    try:
        found = length if isinstance(length, Fraction) else Fraction(str(length))
        usable = found > 0 and float(found) > 0
    except (ValueError, ArithmeticError):
        usable = False
    if not usable:
        raise OptionError(option, length, "a number above 0")
    return found


def _stretch(
    length: Length, hparams: HParams, transform: ShrinkPerturb | None = None
) -> tuple[Fraction, HParams, ShrinkPerturb | None]:
    return as_fraction(length, "length"), hparams, transform


def _read_only(hparams: Iterable[HParams]) -> Iterator[ReadOnlyHParams]:
    """Yield read-only hyperparameters, with one object for a run of identical ones.

    Raises:
        OptionError: a value cannot be written to a file.
    """
    before: HParams | None = None
    for each in hparams:
        if each is not before:
            for name, value in each.items():
                if not isinstance(value, str) and not (isinstance(value, (bool, int, float)) and is_finite(value)):
                    raise OptionError(f"hparams.{name}", value, "a finite number, a text or a boolean")
            before, kept = each, each if isinstance(each, ReadOnlyHParams) else ReadOnlyHParams(each)
        yield kept


# --- reading a file ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _FileTable:
    schema_version: int
    unit: Annotated[str, MinLen(1)]
    interval: Annotated[float, Gt(0)] | str
    budget: Annotated[int, Gt(0), Le(MOST_INTERVALS)] | None = None


@dataclass(frozen=True)
class _StepTable:
    start: Annotated[int, Ge(0)]
    stop: Annotated[int, Gt(0), Le(MOST_INTERVALS)]
    hparams: dict[str, Value]
    member: Annotated[int, Ge(0)] | None = None
    place: Annotated[int, Ge(0), Le(MOST_INTERVALS)] | None = None


@dataclass(frozen=True)
class _Step(_StepTable):
    transform: ShrinkPerturb | None = None


def _read(document: Mapping[str, Any], problems: Mistakes) -> Schedule | None:
    tables = {str(name): value for name, value in document.items()}
    if is_too_deep(tables):
        problems.add("the schedule", TOO_DEEP)
        return None
    # Other versions may have other rules, so their files are not checked further.
    version = tables.get("schema_version")
    if isinstance(version, int) and version != SCHEMA_VERSION:
        problems.add("schema_version", f"this version of hpo reads {SCHEMA_VERSION}", version)
        return None
    given, origin = tables.pop("steps", None), tables.pop("source", None)
    head = options.build(_FileTable, tables, "", problems, also=["source", "steps"])
    source = None
    if origin is not None and (table := options.as_table(origin, "source", problems)) is not None:
        source = options.build(Source, table, "source", problems)
    steps = _read_steps(given, problems)
    if problems or head is None:
        return None
    members = [step.member for step in steps for _ in range(step.start, step.stop)]
    begins = [step.start if step.place is None else step.place for step in steps]
    places = [begin + at for begin, step in zip(begins, steps, strict=True) for at in range(step.stop - step.start)]
    transforms = [step.transform if at == step.start else None for step in steps for at in range(step.start, step.stop)]
    try:
        return Schedule(
            tuple(step.hparams for step in steps for _ in range(step.start, step.stop)),
            as_fraction(head.interval, "interval"),
            head.unit,
            head.budget or 0,
            None if None in members else tuple(member for member in members if member is not None),
            tuple(places),
            source,
            tuple(transforms),
        )
    except OptionError as error:
        problems.add(error.option, f"allowed: {error.allowed}", error.given)
        return None


def _read_steps(given: object, problems: Mistakes) -> Sequence[_Step]:
    """Return the steps of a schedule file, which must follow each other without gaps."""
    if not isinstance(given, list) or not given:
        problems.add("steps", "missing; required: at least one table [[steps]] with start, stop and hparams")
        return ()
    steps: list[_Step] = []
    for index, item in enumerate(given):
        key = f"steps[{index}]"
        table = options.as_table(item, key, problems)
        transform = (
            None if table is None else _read_transform(table.pop("transform", None), f"{key}.transform", problems)
        )
        step = None if table is None else options.build(_StepTable, table, key, problems, also=["transform"])
        if step is None:
            return ()
        if transform is not None and not steps:
            problems.add(f"{key}.transform", "not allowed in the first step: nothing was trained before it")
        expected = steps[-1].stop if steps else 0
        if step.start != expected:
            allowed = f"{expected}, {'the end of the previous step' if steps else 'the start of the schedule'}"
            problems.add(f"{key}.start", f"allowed: {allowed}", step.start)
        if step.stop <= step.start:
            problems.add(f"{key}.stop", f"allowed: a whole number above start = {step.start}", step.stop)
        if steps and (step.member is None) != (steps[0].member is None):
            problems.add(f"{key}.member", "allowed: a member in every step, or in none", step.member)
        steps.append(_Step(**vars(step), transform=transform))
    return steps


def _read_transform(given: object, key: str, problems: Mistakes) -> ShrinkPerturb | None:
    table = None if given is None else options.as_table(given, key, problems)
    if table is None:
        return None
    name = table.pop("name", None)
    if name != SHRINK_PERTURB:
        problems.add(f"{key}.name", f"allowed: {SHRINK_PERTURB!r}", name)
        return None
    return options.build(ShrinkPerturb, table, key, problems, also=["name"])
