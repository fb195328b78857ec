"""What the optimizers of populations share: the first segments of members, and the time between two exploits."""

from collections.abc import Iterator

from hpo.core.amounts import amount
from hpo.core.errors import OptionError
from hpo.core.optimizer import Problem
from hpo.core.segments import HParams, Segment, Value
from hpo.optimizers.perturbation import perturbable


def initial_hparams(problem: Problem, slot: int) -> dict[str, Value]:
    """Return a slot's initial hyperparameters with the space's types, so that all arms start from the same root segments."""
    return problem.space.cast(problem.hparams(slot))


def roots(problem: Problem) -> Iterator[Segment]:
    """Yield the first segment of each member of the initial population, in slot order."""
    for slot in range(problem.population_size):
        yield root(slot, initial_hparams(problem, slot))


def root(slot: int, hparams: HParams) -> Segment:
    """Return the segment that starts from a slot's initialization."""
    return Segment(slot, None, 0, hparams)


def perturbation_period(problem: Problem, perturbation_interval: float | None) -> int:
    """Return the number of intervals between two exploits.

    Args:
        problem: the problem to solve.
        perturbation_interval: the option, in the task's unit; None: one interval.

    Raises:
        OptionError: it is not a whole number of intervals, or leaves no exploit within the budget.
    """
    length = float(problem.interval) if perturbation_interval is None else perturbation_interval
    period = problem.whole_intervals(length, "perturbation_interval")
    if period >= problem.intervals:
        allowed = f"less than the budget of {member_budget(problem)} per member, or no member ever exploits"
        raise OptionError("perturbation_interval", length, allowed)
    return period


def check_explorers(problem: Problem, optimizer: str) -> None:
    """Check that members can copy each other and then explore, whatever an optimizer's options are.

    Raises:
        OptionError: there is one member, or no hyperparameter may change.
    """
    if problem.population_size < 2:
        raise OptionError("optimizer", optimizer, "a population_size of at least 2: members copy each other")
    if not perturbable(problem.space):
        raise OptionError("optimizer", optimizer, "a search space with a hyperparameter that is not fixed")


def member_budget(problem: Problem) -> str:
    """Return the budget of one member in words, such as `20 epochs`."""
    return amount(float(problem.interval * problem.intervals), problem.unit)
