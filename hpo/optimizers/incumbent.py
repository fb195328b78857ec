"""The answer of a search: which segment is the best."""

from collections.abc import Sequence
from typing import Literal

from hpo.core.errors import OptimizerError
from hpo.core.segments import Key, Result

Select = Literal["final", "any"]


def best_of(results: Sequence[Result], select: Select, intervals: int) -> Key:
    """Return the key of the best result.

    Args:
        results: all results of the search.
        select: "final": the best among members at the full budget; "any": the best of any interval. Ties go to the lower member,
            then to the earlier interval; diverged results come last.
        intervals: the budget of one member.

    Raises:
        OptimizerError: no result qualifies.
    """
    candidates = [result for result in results if select == "any" or result.segment.interval == intervals - 1]
    if not candidates:
        raise OptimizerError(
            f"no best member: none of {len(results)} results qualifies under select = {select!r}"
            f" (the budget of one member is {intervals} intervals)"
        )
    return min(candidates, key=lambda result: (*result.rank_key, result.segment.interval)).key


def best_trained(results: Sequence[Result], select: Select, intervals: int) -> Key:
    """Return the key of the best segment of a search that stops members early.

    Args:
        results: all results of the search.
        select: "any": the best of any interval. "final": the best finite member at the full budget, or, if no finite one got
            there, the best of those trained longest. If all results diverged, the lowest member's last one. Ties go to the
            lower member.
        intervals: the budget of one member.

    Raises:
        OptimizerError: there are no results.
    """
    if select == "any" or not results:
        return best_of(results, select, intervals)
    finite = [result for result in results if not result.diverged]
    if not finite:
        return min(results, key=lambda result: (result.segment.member, -result.segment.interval)).key
    return min(finite, key=lambda result: (-result.segment.interval, *result.rank_key)).key
