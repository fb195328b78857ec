"""Derived arms: the answer of another arm, retrained in another way, to find out what its result is due to.

Population based training (Jaderberg et al., "Population based training of neural networks", arXiv:1711.09846, 2017) yields weights,
and the schedule that led to them. Its gain may come from the schedule, from the weights and noise that selection favoured, or from
retraining. Each of these arms differs from another one in only one respect:

| replay | weights and noise | hyperparameters | trained on |
|---|---|---|---|
| none: the source itself | the winning lineage's, which selection saw | its schedule | all development data |
| `schedule` | a fresh member's | its schedule | all development data |
| `shuffled` | the same fresh member's | its schedule's intervals, in random order | all development data |
| `constant_best` | the same fresh member's | the last ones of its schedule, throughout | all development data |
| `inherited_weights` | the winning lineage's | its schedule | the training part, as the search left it |

Weight transforms belong to the weights: they stay where they are in the schedule, and a fresh member's new weights are its own.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

from hpo.core.seeding import REPLAY_SLOT, Streams
from hpo.core.segments import HParams, Segment
from hpo.core.space import SearchSpace

Replay = Literal["schedule", "constant_best", "shuffled", "inherited_weights"]


def replayed(path: Sequence[Segment], replay: Replay | None, space: SearchSpace, streams: Streams) -> list[Segment]:
    """Return the lineage along which an arm's final model is trained, on the search split.

    Args:
        path: the best lineage of the search, root first.
        replay: how the arm is derived; None: it is not.
        space: the study's space. Parameters that are `held` belong to the weights and stay the root's, and with them the choice of
            active parameters.
        streams: of the arm in its replicate. The order of `shuffled` is drawn from the stream `shuffle`; with few intervals it
            may be the original order.

    Returns:
        As many segments as `path` has. Those of a fresh member are in the slot `REPLAY_SLOT` and have no parents yet:
        `retraced` sets them.
    """
    if replay is None or replay == "inherited_weights":
        return list(path)
    schedule = [segment.hparams for segment in path]
    if replay == "constant_best":
        schedule = schedule[-1:] * len(path)
    elif replay == "shuffled":
        schedule = [schedule[index] for index in streams.generator("shuffle").permutation(len(path))]
    root = path[0].hparams
    return [_fresh(segment, space.inherited(hparams, root)) for segment, hparams in zip(path, schedule, strict=True)]


def _fresh(segment: Segment, hparams: HParams) -> Segment:
    return replace(segment, member=REPLAY_SLOT, parent=None, hparams=hparams)
