"""Tasks that know their greedy choice: with it, the greed of a search can be measured (`hpo greed`)."""

from collections.abc import Sequence
from typing import Protocol, TypeVar, runtime_checkable

from hpo.core.segments import HParams
from hpo.core.space import SearchSpace

State = TypeVar("State", contravariant=True)


@runtime_checkable
class KnowsGreed(Protocol[State]):
    """A task without noise and data that knows what is best for the next steps, and a schedule that is good in the end.

    Its `train` returns a new state, and draws nothing.
    """

    def greedy_hparams(self, state: State, steps: int, space: SearchSpace) -> HParams:
        """Return the hyperparameters with which the primary metric is best after so many steps from a state.

        Args:
            state: where the steps start; it is left as it is.
            steps: at least 1, all with the same hyperparameters.
            space: of the study; its bounds may be narrower than the task's own.
        """

    def best_schedule(self, steps: int, space: SearchSpace) -> Sequence[HParams]:
        """Return the hyperparameters of each step of the best known schedule from the initialization."""
