"""From searches of other tools to the records that a comparison is made from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from hpo.compare.data import Inputs, Request, Role, TaskData, natural_order
from hpo.compare.names import hint
from hpo.compare.naming import Wanted, arms_and_seeds
from hpo.compare.phrases import say
from hpo.compare.searches.search import Search
from hpo.core.errors import InputError
from hpo.report.numbers import listed

OBJECTIVE = "objective"
"""The name of a metric that has none."""


@dataclass(frozen=True)
class _Placed:
    """A search with its arm, task and seed."""

    search: Search
    arm: str
    task: str
    seed: str


def place(searches: Sequence[Search], wanted: Wanted, request: Request) -> Inputs:
    """Return the searches by arm, task and seed, with the best value of each.

    A role is said by, in this order: `--column`, `--names`, the search's own attributes, and its name (`tpe-0`) and folder.

    Raises:
        InputError: a role is not clear, two searches have the same ones, or searches of one task have different metrics.
    """
    placed = _placed(searches, wanted, request)
    arms = sorted({each.arm for each in placed}, key=natural_order)
    tasks: dict[str, list[_Placed]] = {}
    for each in sorted(placed, key=lambda each: natural_order(each.task)):
        tasks.setdefault(each.task, []).append(each)
    return Inputs(
        baseline=request.baseline,
        alpha=0.05 if request.alpha is None else request.alpha,
        rope=request.rope,
        arms=tuple(arms),
        tasks=tuple(_task(name, found, arms) for name, found in tasks.items()),
        origin="searches" if any(each.search.chosen_by for each in placed) else "table",
        layout=say("searches_as", first=placed[0], seeded=any(each.seed for each in placed)),
        cautions=(*_cautions(tasks, wanted.skipped, request),),
    )


def _placed(searches: Sequence[Search], wanted: Wanted, request: Request) -> list[_Placed]:
    pattern = wanted.pattern
    if pattern is not None and (twice := [role for role in pattern.roles if role in request.roles]):
        raise InputError(f"--names {pattern.text!r}: the {twice[0]} is also in --column {twice[0]}: drop one")
    if not searches:
        raise InputError(
            f"--names {request.names!r}: no search has such a name; found: {listed([*map(repr, wanted.skipped)])}"
        )
    said = []
    for search in searches:
        by_pattern = {} if pattern is None else pattern.read(search.names) or {}
        said.append((search, {**search.roles, **_mapped(search, request.roles), **by_pattern}))
    by_name = _by_name(said) if pattern is None else [(search.name, "") for search, _ in said]
    return [
        _Placed(search, roles.get("arm", arm), roles.get("task", _folder(search)), roles.get("seed", seed))
        for (search, roles), (arm, seed) in zip(said, by_name, strict=True)
    ]


def _mapped(search: Search, roles: Mapping[Role, str]) -> dict[Role, str]:
    for role, name in roles.items():
        if name not in search.attributes:
            raise InputError(
                f"--column {role}={name}: {search.place} has no such attribute; found:"
                f" {listed([*map(repr, search.attributes)]) or 'none'}" + hint(name, search.attributes)
            )
    return {role: search.attributes[name] for role, name in roles.items()}


def _by_name(said: Sequence[tuple[Search, Mapping[Role, str]]]) -> list[tuple[str, str]]:
    """Return the arm and the seed by the names alone; where both are said otherwise, the names do not matter."""
    needed = [search.name for search, roles in said if not {"arm", "seed"} <= roles.keys()]
    found = dict(zip(needed, arms_and_seeds(needed), strict=True))
    return [found.get(search.name, (search.name, "")) for search, _ in said]


def _folder(search: Search) -> str:
    return next((name for name in reversed(search.names[:-1]) if name.strip("/")), "results")


def _task(name: str, placed: Sequence[_Placed], arms: Sequence[str]) -> TaskData:
    """Return one task, after checking that its searches are alike and each in a place of its own."""
    first = placed[0].search
    metrics = {each.search.metric: each.search for each in placed if each.search.metric is not None}
    if len(metrics) > 1:
        one, other = list(metrics)[:2]
        raise InputError(
            f"{metrics[other].place}: its metric is {other!r}, and that of {metrics[one].place} is {one!r}; allowed: one for all"
            f" searches of a task (here {name!r})"
        )
    values: dict[str, dict[str, float]] = {arm: {} for arm in arms}
    there: dict[tuple[str, str], Search] = {}
    for each in sorted(placed, key=lambda each: natural_order(each.seed)):
        search = each.search
        if search.direction != first.direction:
            raise InputError(
                f"{search.place}: is to {search.direction} its metric, and {first.place} is to {first.direction} it"
            )
        if (other_search := there.get((each.arm, each.seed))) is not None:
            raise InputError(
                f"{search.place}: is arm {each.arm!r}, task {name!r}, seed {each.seed!r}, and so is {other_search.place}; end"
                " names in a seed, as in tpe-0, or say --names or --column"
            )
        there[each.arm, each.seed] = search
        values[each.arm][each.seed] = search.value
    sources = dict.fromkeys(each.search.place.partition(": study ")[0] for each in placed)
    return TaskData(
        name, listed(list(sources)), next(iter(metrics), OBJECTIVE), first.direction, values, counts=None, rate=False
    )


def _cautions(tasks: Mapping[str, Sequence[_Placed]], skipped: Sequence[str], request: Request) -> Iterator[str]:
    placed = [each for of_task in tasks.values() for each in of_task]
    if any(each.search.chosen_by for each in placed):
        yield say("best_of_trials", some=not all(each.search.chosen_by for each in placed))
    for name, of_task in tasks.items():
        trials = _by_arm(of_task, [each.search.trials for each in of_task])
        if trials:
            least = min(each.search.trials for each in of_task)
            yield say("unequal_trials", task=name if len(tasks) > 1 else None, counts=trials, least=least)
            continue
        reports = [each.search.reports for each in of_task]
        known = [count for count in reports if count is not None]
        if len(known) == len(reports) and (found := _by_arm(of_task, known)):
            yield say("unequal_reports", task=name if len(tasks) > 1 else None, counts=found)
    if unfinished := [f"{each.search.name} ({each.search.unfinished})" for each in placed if each.search.unfinished]:
        yield say("unfinished_trials", searches=unfinished)
    if skipped:
        yield say("unlike_names", pattern=request.names, names=skipped)


def _by_arm(placed: Sequence[_Placed], counts: Sequence[int]) -> list[str]:
    """Return each arm's counts in words; nothing if all are equal."""
    if len(set(counts)) < 2:
        return []
    by_arm: dict[str, list[int]] = {}
    for each, count in zip(placed, counts, strict=True):
        by_arm.setdefault(each.arm, []).append(count)
    ranges = {arm: (min(found), max(found)) for arm, found in sorted(by_arm.items())}
    return [f"{arm} {low:,}" if low == high else f"{arm} {low:,} to {high:,}" for arm, (low, high) in ranges.items()]
