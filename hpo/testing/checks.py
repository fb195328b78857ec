"""The checks of a search in memory. Each takes an optimizer's options, a search space and the population's size."""

import json
from collections.abc import Callable, Mapping
from itertools import zip_longest

from hpo.core.errors import OptionError, ReplayMismatch
from hpo.core.optimizer import OptimizerOptions, Problem
from hpo.core.registry import to_table
from hpo.core.space import SearchSpace
from hpo.testing.driving import Broken, Run, drive, driven
from hpo.testing.problems import SPACES, always, every_other, level, problem
from hpo.testing.processes import check_processes

SIZES = (1, 2, 3, 6)
"""Sizes of the population that every optimizer is tried with."""
Check = Callable[[OptimizerOptions, SearchSpace, int], None]


def check_optimizer(
    options: OptimizerOptions, *, refuses: Mapping[str, str] | None = None, processes: bool = True
) -> None:
    """Check that an optimizer holds to its contract, on each of `SPACES` and with each of `SIZES`.

    Args:
        options: the optimizer, with any options.
        refuses: what its `start` refuses with an `OptionError`, and why: a name of `SPACES`, a population's size as in "n = 1",
            or both as in "mixed, n = 1". What is refused must stand here, and what stands here must be refused.
        processes: ask another process, too, with another hash seed; the optimizer must then be defined in a module.

    Raises:
        Broken: it does not hold to its contract, in what the message says.
        OptimizerError: it does not, in what the engine itself sees to.
    """
    for name, space in SPACES.items():
        for n in accepted(options, name, refuses or {}):
            for check in CHECKS:
                try:
                    check(options, space, n)
                except Broken as error:
                    raise Broken(f"{type(options).__name__}, {name}, n = {n}: {check.__name__}: {error}") from error
    if processes:
        check_processes({type(options).__name__: options})


def accepted(options: OptimizerOptions, space: str, refuses: Mapping[str, str]) -> list[int]:
    """Return the sizes with which a search starts on one of `SPACES`.

    Raises:
        Broken: `start` refuses what `refuses` does not name, or not what it names; or all is refused on every space.
    """
    sizes = []
    for n in SIZES:
        named = [key for key in (space, f"n = {n}", f"{space}, n = {n}") if key in refuses]
        try:
            options.start(problem(n, space=SPACES[space]))
        except OptionError as error:
            if not named:
                raise Broken(f"{type(options).__name__} refuses {space}, n = {n}: {error}") from error
        else:
            if named:
                raise Broken(f"{type(options).__name__} starts on {space}, n = {n}; it was to refuse {named[0]!r}")
            sizes.append(n)
    if not sizes and set(SPACES) <= refuses.keys():
        raise Broken(f"{type(options).__name__} refuses everything")
    return sizes


def check_options(options: OptimizerOptions, space: SearchSpace, n: int) -> None:
    """The options are plain, and the default concurrency is from 1 to the population's size."""
    try:
        json.dumps([to_table(options), dict(options.resolved())])
    except TypeError as error:
        raise Broken(f"options that JSON does not hold: {error}") from error
    if not 1 <= options.default_concurrency(n) <= n:
        raise Broken(f"the default concurrency is {options.default_concurrency(n)} for a population of {n}")


def check_budget(options: OptimizerOptions, space: SearchSpace, n: int) -> None:
    """The budget is kept and, but for less than one member's, spent, whatever the concurrency; slots are used in order."""
    for concurrency in sorted({1, min(2, n), n, options.default_concurrency(n)}):
        of = problem(n, space=space, concurrency=concurrency)
        run = drive(options, of)
        _check_spent(run, of)
        _check_answer(run)
        best = run.results[run.best].segment
        if getattr(options, "select", "") == "final" and best.interval != of.intervals - 1:
            raise Broken(f'select = "final", and the answer is of interval {best.interval} of {of.intervals}')


def check_ties(options: OptimizerOptions, space: SearchSpace, n: int) -> None:
    """Where everything ties, the search goes on as ever, and the answer is the lowest member of its interval."""
    of = problem(n, space=space)
    run = drive(options, of, score=level)
    _check_spent(run, of)
    _check_answer(run)


def check_divergence(options: OptimizerOptions, space: SearchSpace, n: int) -> None:
    """Where some members diverge, or all, the budget is spent as ever; a diverged member is the last to be the answer."""
    of = problem(n, space=space)
    for diverges in (every_other, always):
        run = drive(options, of, diverges=diverges)
        _check_spent(run, of)
        _check_answer(run)


def check_replay(options: OptimizerOptions, space: SearchSpace, n: int) -> None:
    """From any prefix of its journal a search goes on in the same way, also with another search beside it."""
    of = problem(n, space=space, concurrency=options.default_concurrency(n))
    whole = drive(options, of, diverges=every_other)
    # Each replay repeats the whole; the prefixes of a small population stand for those of all.
    prefixes = range(len(whole.journal)) if n == 2 else [len(whole.journal)]
    for length in prefixes:
        try:
            again = drive(options, of, diverges=every_other, entries=whole.journal[:length])
        except ReplayMismatch as error:
            raise Broken(f"told again what it was told, the search asks for something else: {error}") from error
        if again != whole:
            raise Broken(f"replayed from {length} of {len(whole.journal)} entries, the search goes on in another way")
    for one, other in zip_longest(driven(options, of), driven(options, of)):
        if one != other:
            raise Broken("two searches side by side do not ask for the same: they share state")


CHECKS: tuple[Check, ...] = (check_options, check_budget, check_ties, check_divergence, check_replay)


def _check_spent(run: Run, of: Problem) -> None:
    unspent = of.budget - len(run.segments)
    if unspent < 0:
        raise Broken(f"{-unspent} intervals more than the budget of {of.budget} were asked for")
    if unspent >= of.intervals:
        raise Broken(f"{unspent} intervals of {of.budget} are left, and one member's whole budget is {of.intervals}")
    roots = [segment.member for segment in run.segments if segment.parent is None]
    if sorted(roots) != list(range(len(roots))):
        raise Broken(f"slots are not used in order, each once: {roots}")


def _check_answer(run: Run) -> None:
    """No other result of the answer's interval ranks before it."""
    best = run.results[run.best]
    peers = [result for result in run.results.values() if result.segment.interval == best.segment.interval]
    first = min(peers, key=lambda result: result.rank_key)
    if first.rank_key < best.rank_key:
        raise Broken(
            f"the answer is member {best.segment.member} with {best.score}, at an interval at which"
            f" member {first.segment.member} has {first.score}: the best, on a tie the lowest, is first"
        )
