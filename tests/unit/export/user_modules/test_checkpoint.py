"""Weights as they lie on disk: found behind keys and prefixes if only one way fits."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from odeploy_export.user_modules.checkpoint import load_weights
from odeploy_runtime.errors import OdeployError


def net(seed: int, out: int = 3) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, out))


STATE, CRITIC = net(1).state_dict(), net(2, 1).state_dict()


def prefixed(state: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {prefix + name: tensor for name, tensor in state.items()}


@pytest.mark.parametrize(
    ("content", "key", "found"),
    [
        (STATE, "", {}),
        ({"model_state_dict": STATE, "optimizer": {"lr": 1e-3, "state": {}}, "iter": 7}, "",
         {"weights_key": "model_state_dict"}),
        ({"actor": STATE, "critic": CRITIC}, "", {"weights_key": "actor"}),
        ({"agent": {"actor": STATE, "old_actor": net(3).state_dict()}}, ":agent.actor",
         {"weights_key": "agent.actor"}),
        (prefixed(STATE, "module."), "", {}),
        (prefixed(STATE, "_orig_mod."), "", {}),
        ({"model_state_dict": prefixed(STATE, "actor.") | prefixed(CRITIC, "critic.") | {"std": torch.ones(3)}},
         "",
         {"weights_key": "model_state_dict", "weights_prefix": "actor."}),
        (prefixed(STATE, "module.actor._orig_mod."), "", {"weights_prefix": "actor."}),
    ],
    ids=["plain", "checkpoint", "actor and critic", "key", "module", "compiled", "rsl_rl", "all"],
)  # fmt: skip
def test_the_state_dict_of_a_module_is_found(
    content: Any, key: str, found: dict[str, str], tmp_path: Path
) -> None:
    torch.save(content, tmp_path / "w.pt")
    module = net(0)
    provenance = load_weights(module, tmp_path / f"w.pt{key}", "Net")
    for name, tensor in module.state_dict().items():
        assert torch.equal(tensor, STATE[name])
    assert len(provenance.pop("weights_hash")) == 64
    assert provenance == found


@pytest.mark.parametrize(
    ("content", "key", "fragment"),
    [
        (
            {"actor": STATE, "target": net(3).state_dict()},
            "",
            "expected one state dict that fits Net, got 2: actor:, t",
        ),
        ({"actor": STATE}, ":critic", "got no state dict critic; there are actor"),
        ({"critic": CRITIC}, "", r"weight 2.weight: expected shape \(3, 8\) as Net has, got shape \(1, 8\)"),
        ({"a": CRITIC, "b": CRITIC}, "", "expected a state dict that fits Net, got others: a, b"),
        ({"iter": 3}, "", "expected a state dict: only tensors, by name, got a dict of other things"),
    ],
)
def test_weights_that_fit_in_no_way_or_in_several_are_refused(
    content: Any, key: str, fragment: str, tmp_path: Path
) -> None:
    torch.save(content, tmp_path / "w.pt")
    with pytest.raises(OdeployError, match=fragment) as refused:
        load_weights(net(0), tmp_path / f"w.pt{key}", "Net")
    assert "\n" not in str(refused.value)
