"""Members of searches as records: all segments of each, with values of the search space's types, and how it ended."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import groupby
from typing import Literal

import numpy as np
import pandas as pd

from hpo.core.errors import InputError, OptionError
from hpo.core.parameters import Categorical, Parameter
from hpo.core.run_files import SEGMENTS
from hpo.core.segments import HParams, Segment, Step, Value, schedule_of
from hpo.core.space import SearchSpace
from hpo.report.segments_csv import SegmentRow, place_of, records
from hpo.results.document import Results

Outcome = Literal["complete", "stopped", "diverged", "running"]
"""`complete`: evaluated at the end of its budget; `stopped`: earlier; `diverged`: after its last interval; `running`: its replicate
is not finished."""


@dataclass(frozen=True)
class Member:
    """A member of one search.

    Args:
        seed: the replicate's seed.
        arm: the arm's label.
        number: the member's slot.
        segments: at least one, in the order of their intervals.
        hparams: of each segment; see `typed_hparams`.
        outcome: how it ended.
    """

    seed: int
    arm: str
    number: int
    segments: tuple[SegmentRow, ...]
    hparams: tuple[HParams, ...]
    outcome: Outcome

    @property
    def copies(self) -> dict[int, int]:
        """By interval, from which other member it copied before it."""
        return {row.interval: row.parent for row in self.segments if row.parent not in (None, row.member)}

    @property
    def schedule(self) -> tuple[Step, ...]:
        """Its hyperparameters over its intervals, also where it copied another member's weights."""
        found = zip(self.segments, self.hparams, strict=True)
        return schedule_of(
            Segment(row.member, None, row.interval, hparams, transform=row.transform) for row, hparams in found
        )


def members_of(table: pd.DataFrame, results: Results, most: int | None = None) -> tuple[Member, ...]:
    """Return the members in rows of one arm, by seed in the study's order, then by slot.

    Args:
        table: the rows, as `hpo.report.segments_csv.read_segments` returns them.
        results: of the same run.
        most: return at most so many, evenly spaced.

    Raises:
        InputError: a hyperparameter has a value outside the search space; the message names the row.
    """
    order = {seed: place for place, seed in enumerate(results.planned_seeds)}
    table = table.assign(place=table["seed"].map(order)).sort_values(["place", "member", "interval"], kind="stable")
    number = table.groupby(["place", "member"], sort=False, dropna=False).ngroup()
    if most is not None and number.size and number.iloc[-1] >= most:
        table = table[number.isin(np.linspace(0, number.iloc[-1], most).round())]
    finished = table["on_best_lineage"].notna()
    rows = zip(table["seed"], finished, typed_hparams(table, results.task.space), records(table), strict=True)
    found = []
    for (seed, slot), group in groupby(rows, key=lambda row: (int(row[0]), row[3].member)):
        _, ended, hparams, segments = zip(*group, strict=True)
        outcome = _outcome(segments[-1], all(ended), results)
        found.append(Member(seed, segments[0].arm, slot, segments, hparams, outcome))
    return tuple(found)


def _outcome(last: SegmentRow, finished: bool, results: Results) -> Outcome:
    if not finished and last.interval < results.intervals - 1:
        return "running"
    if last.diverged or last.metrics.get(results.task.primary) is None:
        return "diverged"
    return "complete" if last.interval >= results.intervals - 1 else "stopped"


# --- values of the space's types -----------------------------------------------------------------------------------------


def spelling(parameter: Categorical) -> dict[str, Value]:
    """Return the choices by their texts in segments.csv; if two have the same text, as in `[1, "1"]`, the texts themselves."""
    found = {str(choice): choice for choice in parameter.choices}
    return found if len(found) == len(parameter.choices) else {text: text for text in found}


def typed_hparams(table: pd.DataFrame, space: SearchSpace) -> list[dict[str, Value]]:
    """Return the active hyperparameters of each row, in the space's order and with its types.

    Choices with the same spelling, such as 1 and "1", are texts, because the file cannot tell them apart.

    Raises:
        InputError: one has a value outside the search space; the message names the row.
    """
    found: list[dict[str, Value]] = [{} for _ in range(len(table))]
    for name in space.ordered:
        column, parameter = f"hparam:{name}", space[name]
        spelled = spelling(parameter) if isinstance(parameter, Categorical) else {}
        for place, (given, others) in enumerate(zip(table.get(column, [""] * len(table)), found, strict=True)):
            # An empty text may be a choice.
            if given == "" and "" in spelled and space.is_active(name, others):
                others[name] = ""
            elif given not in ("", None) and given == given:
                try:
                    others[name] = _value(name, given, parameter, spelled)
                except OptionError as error:
                    raise InputError(f"{SEGMENTS}: {place_of(table.iloc[place])}: {error}") from None
    if space.ordered == tuple(space):
        return found
    return [{name: hparams[name] for name in space if name in hparams} for hparams in found]


def _value(name: str, given: float | str, parameter: Parameter, spelled: Mapping[str, Value]) -> Value:
    if isinstance(parameter, Categorical):
        if given not in spelled:
            raise OptionError(name, given, f"one of {list(spelled)}")
        return spelled[str(given)]
    value: Value | None = given if isinstance(given, float) else int(given) if _WHOLE.fullmatch(given) else None
    if value is None or not parameter.contains(value):
        raise OptionError(name, given, f"a value in the search space: {parameter}")
    return parameter.cast(value)


_WHOLE = re.compile("-?[0-9]{1,400}")
