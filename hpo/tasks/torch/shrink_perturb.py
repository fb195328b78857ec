"""The weight transform `shrink_perturb` for PyTorch models.

Ash and Adams, "On warm-starting neural network training", NeurIPS 2020, section 4. The parameters to train become
shrink * parameter + perturb * freshly initialized parameter. Running statistics of normalization layers describe the old weights,
so they become the fresh ones; other buffers stay, and so do parameters that are not trained.
"""

import torch
from torch import nn

from hpo.core.errors import HpoError


def shrink_perturb(model: nn.Module, fresh: nn.Module, shrink: float, perturb: float) -> None:
    """Change a model's weights in place.

    Args:
        model: the model.
        fresh: one of the same shape, with new random weights.
        shrink: the factor on the model's weights.
        perturb: the factor on the fresh weights.

    Raises:
        HpoError: the models have different parameters or shapes.
    """
    new = dict(fresh.named_parameters())
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            other = new.get(name)
            if other is None or other.shape != parameter.shape:
                raise HpoError(
                    f"shrink_perturb: the fresh model has no parameter {name} of shape {tuple(parameter.shape)}"
                )
            if parameter.requires_grad:
                parameter.mul_(shrink).add_(other, alpha=perturb)
        modules = dict(model.named_modules())
        for name, module in fresh.named_modules():
            if hasattr(module, "reset_running_stats"):
                own = dict(modules[name].named_buffers(recurse=False))
                for key, buffer in module.named_buffers(recurse=False):
                    own[key].copy_(buffer)
