import math
from typing import get_type_hints

import pytest

from hpo.core.errors import OptimizerError
from hpo.core.optimizer import Perturbation, Selection
from hpo.core.segments import Result, Segment
from hpo.optimizers.incumbent import best_of
from hpo.optimizers.pbt import PBT
from hpo.optimizers.population import root
from hpo.optimizers.ready_queue import ReadyQueue


def result(member, interval, score):
    segment = Segment(member, None, interval, {})
    return Result(f"{member}/{interval}", segment, {}, -math.inf if score is None else score, score is None)


def test_final_looks_at_the_full_budget_alone_and_any_everywhere():
    results = [result(0, 0, 9.0), result(1, 0, 9.0), result(1, 1, 2.0), result(0, 1, 2.0), result(2, 1, None)]
    assert best_of(results, "final", 2) == "0/1"
    assert best_of(results, "any", 2) == "0/0"


def test_ties_go_to_the_lower_member_then_to_the_earlier_interval():
    results = [result(1, 0, 1.0), result(0, 1, 1.0), result(0, 0, 1.0)]
    assert best_of(results, "any", 2) == "0/0"


def test_divergence_ranks_last_and_still_answers():
    assert best_of([result(0, 0, None), result(1, 0, -1e300)], "final", 1) == "1/0"
    assert best_of([result(1, 0, None), result(0, 0, None)], "final", 1) == "0/0"


def test_nothing_that_qualifies_is_an_error():
    with pytest.raises(OptimizerError, match="none of 1 results qualifies"):
        best_of([result(0, 0, 1.0)], "final", 2)
    with pytest.raises(OptimizerError):
        best_of([], "any", 2)


def test_members_that_continue_come_before_new_ones_and_new_ones_are_drawn_lazily():
    opened = []

    def waiting():
        for slot in range(4):
            opened.append(slot)
            yield root(slot, {})

    queue = ReadyQueue(waiting())
    assert queue.take(0) == []
    assert [segment.member for segment in queue.take(2)] == [0, 1]
    assert opened == [0, 1]
    queue.continue_from(result(1, 0, 1.0))
    assert [(segment.member, segment.interval) for segment in queue.take(2)] == [(1, 1), (2, 0)]
    assert [segment.member for segment in queue.take(9)] == [3]
    assert queue.take(9) == []


def test_the_spec_finds_the_nested_plug_ins_by_their_annotations():
    hints = get_type_hints(PBT)
    assert hints["selection"] is Selection
    assert hints["perturbation"] is Perturbation
