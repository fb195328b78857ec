"""Dropout whose masks are drawn outside of the model, with one generator for each lane of a stack.

`torch.nn.functional.dropout` takes no generator, and `vmap` cannot draw per lane. So a stack's model multiplies by masks
that are passed in. On a CPU a lane draws the numbers that its model would draw alone, from the same stream.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from hpo.core.errors import HpoError

Site = tuple[str, tuple[int, ...]]
"""A call of a dropout layer: the layer's name, and the shape of the mask that it multiplies by."""

_PLAIN, _BY_CHANNEL = (nn.Dropout,), (nn.Dropout1d, nn.Dropout2d, nn.Dropout3d)


def dropout_layers(model: nn.Module) -> dict[str, nn.Module]:
    """Return the dropout layers of a model by name.

    Raises:
        HpoError: one is of another kind than `nn.Dropout`, `Dropout1d`, `Dropout2d` and `Dropout3d`.
    """
    layers: dict[str, nn.Module] = {}
    for name, module in model.named_modules():
        if isinstance(module, nn.modules.dropout._DropoutNd):
            if type(module) not in (*_PLAIN, *_BY_CHANNEL):
                raise HpoError(f"{type(module).__name__} cannot be stacked: only nn.Dropout, 1d, 2d and 3d can")
            layers[name] = module
    return layers


@dataclass
class MaskFeed:
    """Masks for one forward pass, handed out in the order in which the layers are called.

    Args:
        masks: the remaining ones; None while calls are recorded.
        sites: the recorded calls.
    """

    masks: list[Tensor] | None = None
    sites: list[Site] = field(default_factory=list)


class MaskedDropout(nn.Module):
    """Replaces a dropout layer.

    Args:
        name: the layer's name.
        by_channel: whether whole channels are dropped.
        feed: provides the masks.
    """

    def __init__(self, name: str, by_channel: bool, feed: MaskFeed) -> None:
        super().__init__()
        self._name, self._by_channel, self._feed = name, by_channel, feed

    def forward(self, x: Tensor) -> Tensor:
        """Multiply by the next mask."""
        if self._feed.masks is not None:
            return x * self._feed.masks.pop(0)
        shape = (*x.shape[:2], *(1 for _ in x.shape[2:])) if self._by_channel else tuple(x.shape)
        self._feed.sites.append((self._name, shape))
        return x


def mask_dropout(model: nn.Module) -> MaskFeed:
    """Replace every dropout layer of a model with a `MaskedDropout`, and return their common feed."""
    feed = MaskFeed()
    for name, layer in dropout_layers(model).items():
        parent, _, own = name.rpartition(".")
        setattr(model.get_submodule(parent), own, MaskedDropout(name, type(layer) in _BY_CHANNEL, feed))
    return feed


@dataclass(frozen=True)
class LaneDraws:
    """What one lane draws for a batch.

    Args:
        sites: the calls of dropout layers in its own model, in order.
        rates: the dropout probability of each layer by name.
        generator: the lane's generator.
    """

    sites: Sequence[Site]
    rates: Mapping[str, float]
    generator: torch.Generator


class Masks:
    """The masks of all lanes for batches of one shape, drawn anew for every step.

    Args:
        sites: the calls of dropout layers in the stack's model, in order.
        lanes: what each lane draws; None for an idle lane. The mask of a smaller model fills the leading corner of the
            stack's, with ones around it.
        like: a tensor on the device and of the type of the masks.

    Raises:
        HpoError: a lane's model calls other dropout layers than the stack's.
    """

    def __init__(self, sites: Sequence[Site], lanes: Sequence[LaneDraws | None], like: Tensor) -> None:
        names = [name for name, _ in sites]
        if any(lane is not None and [name for name, _ in lane.sites] != names for lane in lanes):
            raise HpoError("a lane's model calls other dropout layers than the padded one")
        self._masks = [like.new_ones((len(lanes), *shape)) for _, shape in sites]
        self._keep = []
        self._draws: list[tuple[Tensor, Tensor, float, torch.Generator]] = []
        for site, ((name, shape), mask) in enumerate(zip(sites, self._masks, strict=True)):
            keep = [1.0 if lane is None else 1.0 - lane.rates[name] for lane in lanes]
            self._keep.append(like.new_tensor([each or 1.0 for each in keep]).view(len(lanes), *(1 for _ in shape)))
            for index, (each, lane) in enumerate(zip(keep, lanes, strict=True)):
                if each == 0:
                    mask[index].zero_()
                elif each < 1 and lane is not None:
                    own = lane.sites[site][1]
                    corner = mask[index][tuple(slice(size) for size in own)]
                    # Drawn into contiguous memory, in the order in which the lane's model would draw.
                    drawn = corner if corner.is_contiguous() else torch.empty_like(corner).contiguous()
                    self._draws.append((corner, drawn, each, lane.generator))

    def drawn(self) -> list[Tensor]:
        """Return new masks, one for each call, shape (lanes, ...): 0, or 1 / (1 - rate)."""
        for corner, drawn, keep, generator in self._draws:
            drawn.bernoulli_(keep, generator=generator)
            if drawn is not corner:
                corner.copy_(drawn)
        return [mask / keep for mask, keep in zip(self._masks, self._keep, strict=True)]
