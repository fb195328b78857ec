"""Checks of a search in memory. Each takes an optimizer's options, a search space and the population size."""

import json
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from itertools import zip_longest

from hpo.core.errors import OptionError, ReplayMismatch
from hpo.core.optimizer import OptimizerOptions, Problem
from hpo.core.registry import to_table
from hpo.core.segments import Key
from hpo.core.space import SearchSpace
from hpo.testing.driving import Broken, Run, drive, driven
from hpo.testing.problems import LARGER, SIZES, SPACES, always, every_other, level, members, problem
from hpo.testing.processes import check_processes

Check = Callable[[OptimizerOptions, SearchSpace, int], None]


def check_optimizer(
    options: OptimizerOptions, *, refuses: Mapping[str, str] | None = None, processes: bool = True
) -> None:
    """Check that an optimizer keeps its contract, on each of `SPACES` and with each of `SIZES`.

    One that refuses all of `SIZES` is checked with the first of `LARGER` that it accepts.

    Args:
        options: the optimizer, with any options.
        refuses: the cases for which its `start` raises `OptionError`, and why: a name from `SPACES`, a population size such as
            "n = 1", or both, such as "mixed, n = 1". These cases must raise it, and no others may.
        processes: also check the optimizer in another process with another hash seed; it must then be defined in a module.

    Raises:
        Broken: the optimizer breaks its contract in the way that the message says.
        OptimizerError: it breaks a part of the contract that the engine itself checks.
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
    """Return the population sizes to check on one of `SPACES`: those of `SIZES` that start, or else the first of `LARGER`.

    Returns:
        No sizes if `refuses` names the space.

    Raises:
        Broken: `start` raises `OptionError` in other cases than those in `refuses`, or in all cases.
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
                raise Broken(f"{type(options).__name__} starts on {space}, n = {n}, but `refuses` names {named[0]!r}")
            sizes.append(n)
    if set(SPACES) <= refuses.keys():
        raise Broken(f"{type(options).__name__} refuses everything")
    if sizes or space in refuses:
        return sizes
    larger = members(options, SPACES[space])
    if larger is None:
        raise Broken(f"{type(options).__name__} refuses {space} with every n up to {LARGER[-1]}")
    return [larger]


def check_options(options: OptimizerOptions, space: SearchSpace, n: int) -> None:
    """Options must be JSON values, and the default concurrency from 1 to the population size."""
    try:
        json.dumps([to_table(options), dict(options.resolved())])
    except TypeError as error:
        raise Broken(f"options are not JSON values: {error}") from error
    if not 1 <= options.default_concurrency(n) <= n:
        raise Broken(f"the default concurrency is {options.default_concurrency(n)} for a population of {n}")


def check_budget(options: OptimizerOptions, space: SearchSpace, n: int) -> None:
    """Whatever the concurrency, less than one member's budget is left, none is exceeded, and slots are used in order."""
    for concurrency in sorted({1, min(2, n), n, options.default_concurrency(n)}):
        of = problem(n, space=space, concurrency=concurrency)
        run = drive(options, of)
        _check_spent(run, of)
        _check_answer(run)
        best = run.results[run.best].segment
        if getattr(options, "select", "") == "final" and run.best not in _finals(run, of):
            raise Broken(f'select = "final", but the answer is from interval {best.interval} of {of.intervals}')


def check_ties(options: OptimizerOptions, space: SearchSpace, n: int) -> None:
    """If all scores tie, the budget is still spent, and the answer is the lowest member of its interval."""
    of = problem(n, space=space)
    run = drive(options, of, score=level)
    _check_spent(run, of)
    _check_answer(run)


def check_divergence(options: OptimizerOptions, space: SearchSpace, n: int) -> None:
    """If some or all members diverge, the budget is still spent, and a finite member is preferred as the answer."""
    of = problem(n, space=space)
    for diverges in (every_other, always):
        run = drive(options, of, diverges=diverges)
        _check_spent(run, of)
        _check_answer(run)


def check_replay(options: OptimizerOptions, space: SearchSpace, n: int) -> None:
    """A search replayed from any prefix of its journal must continue identically, and must share no state with other searches."""
    of = problem(n, space=space, concurrency=options.default_concurrency(n))
    whole = drive(options, of, diverges=every_other)
    # Replaying is quadratic, so all prefixes are tried only with a small population.
    prefixes = range(len(whole.journal)) if n == 2 else [len(whole.journal)]
    for length in prefixes:
        try:
            again = drive(options, of, diverges=every_other, entries=whole.journal[:length])
        except ReplayMismatch as error:
            raise Broken(f"replayed from its journal, the search asks for something else: {error}") from error
        if again != whole:
            raise Broken(f"replayed from {length} of {len(whole.journal)} entries, the search continues differently")
    for one, other in zip_longest(driven(options, of), driven(options, of)):
        if one != other:
            raise Broken("two searches run side by side ask for different segments, so they share state")


def check_rule(options: OptimizerOptions, space: SearchSpace, n: int) -> None:
    """If a rule makes most of the space infeasible, only feasible hyperparameters are trained, and the budget is still spent."""
    ruled = replace(space, feasible=lambda hparams: 0.4 <= space["lr"].to_unit(hparams["lr"]) <= 0.6)
    of = problem(n, space=ruled, concurrency=options.default_concurrency(n))
    run = drive(options, of, diverges=every_other)
    _check_spent(run, of)
    _check_answer(run)
    broken = [segment for segment in run.segments if not ruled.is_feasible(segment.hparams)]
    if broken:
        raise Broken(f"member {broken[0].member} trains with {dict(broken[0].hparams)}, which the rule refuses")


CHECKS: tuple[Check, ...] = (check_options, check_budget, check_ties, check_divergence, check_replay, check_rule)


def _check_spent(run: Run, of: Problem) -> None:
    unspent = of.budget - len(run.segments)
    if unspent < 0:
        raise Broken(f"asked for {-unspent} intervals more than the budget of {of.budget}")
    if unspent >= of.intervals:
        raise Broken(f"{unspent} intervals of {of.budget} are left, at least one member's budget of {of.intervals}")
    roots = [segment.member for segment in run.segments if segment.parent is None]
    if sorted(roots) != list(range(len(roots))):
        raise Broken(f"slots must be used once each and in order, but were used as {roots}")


def _finals(run: Run, of: Problem) -> Collection[Key]:
    """Return the results among which `select = "final"` chooses."""
    if run.finals is not None:
        return run.finals
    return [key for key, result in run.results.items() if result.segment.interval == of.intervals - 1]


def _check_answer(run: Run) -> None:
    """Check that no other result of the answer's interval ranks before it, or none of the final results."""
    best = run.results[run.best]
    peers = [result for result in run.results.values() if result.segment.interval == best.segment.interval]
    if run.finals is not None and run.best in run.finals:
        peers = [run.results[key] for key in run.finals]
    first = min(peers, key=lambda result: result.rank_key)
    if first.rank_key < best.rank_key:
        raise Broken(
            f"the answer is member {best.segment.member} with score {best.score}, but at the same interval"
            f" member {first.segment.member} has {first.score}: the best must win, and on a tie the lowest member"
        )
