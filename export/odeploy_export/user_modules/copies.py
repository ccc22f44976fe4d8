"""Copies of a user's module: as it is, and without parametrisations."""

import copy

from torch import Tensor, nn
from torch.nn.utils import parametrize, remove_spectral_norm, remove_weight_norm
from torch.nn.utils.spectral_norm import SpectralNorm
from torch.nn.utils.weight_norm import WeightNorm


def copied(module: nn.Module) -> nn.Module:
    """Return a copy in float32 on the CPU, for evaluation.

    Weights that a hook computes anew at every call, such as those of `weight_norm`, have a history, which torch
    does not copy; they are copied without it.
    """
    computed = [
        (layer, name, value)
        for layer in module.modules()
        for name, value in vars(layer).items()
        if isinstance(value, Tensor) and not value.is_leaf
    ]
    try:
        for layer, name, value in computed:
            vars(layer)[name] = value.detach()
        made = copy.deepcopy(module)
    finally:
        for layer, name, value in computed:
            vars(layer)[name] = value
    return made.cpu().float().eval().requires_grad_(False)


def plain(module: nn.Module) -> nn.Module:
    """Return a copy whose parametrised weights are plain parameters, as they are now."""
    made = copied(module)
    for layer in list(made.modules()):
        if parametrize.is_parametrized(layer):
            # torch's own removal changes the layer's class, which the original shares
            names = [name for name, _ in layer.get_submodule("parametrizations").named_children()]
            values = {name: getattr(layer, name).detach().clone() for name in names}
            del layer._modules["parametrizations"]
            layer.__class__ = type(layer).__bases__[0]
            for name, value in values.items():
                layer.register_parameter(name, nn.Parameter(value))
        for hook in list(layer._forward_pre_hooks.values()):
            if isinstance(hook, WeightNorm):
                remove_weight_norm(layer, hook.name)
            elif isinstance(hook, SpectralNorm):
                remove_spectral_norm(layer, hook.name)
    return made.requires_grad_(False)
