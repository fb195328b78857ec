"""The family of PBT on spaces with little to change: categories alone, one hyperparameter, and some that are rarely active."""

import pytest
from configurations import TABLES, configurations

from hpo.core.space import Categorical, Float, SearchSpace
from hpo.testing import drive, problem
from hpo.testing.problems import starts

FAMILY = [
    name for name, table in sorted(TABLES.items()) if table["optimizer"] in ("bg_pbt", "fire_pbt", "ipbt", "mf_pbt")
] + ["pbt-mix", "pbt-standard-deviation"]
KIND = Categorical(("a", "b", "c"))
SPACES = {
    "one category": SearchSpace({"kind": KIND}),
    "one ordered category": SearchSpace({"kind": Categorical((1, 2, 4), ordered=True)}),
    "a category that is rarely active": SearchSpace({"kind": KIND, "act": Categorical(("x", "y"), when={"kind": "a"})}),
    "a number that is rarely active": SearchSpace({"kind": KIND, "x": Float(0.0, 1.0, when={"kind": "a"})}),
}


def wandering(segment):
    """Return a score that rises and falls with the interval and the slot, so that members copy and searches restart."""
    return (segment.interval * 7 + segment.member * 3) % 5


@pytest.mark.parametrize("space", SPACES)
@pytest.mark.parametrize("name", FAMILY)
def test_the_budget_is_spent_exactly(name, space):
    options = configurations()[name]
    n = 8 if starts(options, SPACES[space], 8) else 16
    of = problem(n, 9, SPACES[space])
    assert len(drive(options, of, wandering).segments) == of.budget


@pytest.mark.parametrize("name", ["bg_pbt", "ipbt"])
def test_a_space_in_which_nothing_may_change_is_refused(name):
    fixed = SearchSpace({"kind": Categorical(("a", "b"), fixed=True)})
    assert not starts(configurations()[name], fixed, 8)
