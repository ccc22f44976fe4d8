"""Modules that ONNX cannot express: the error names operator and layer in one line."""

import pytest
import torch
from torch import Tensor, nn

from odeploy_export.graphs.tracing import trace_graph
from odeploy_runtime.errors import ContractError


class Decomposes(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        values: Tensor = torch.linalg.svd(x.reshape(-1, 2, 2))[1]
        return values


class Branches(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return -x if x.sum() > 0 else x


class Policy(nn.Module):
    """A linear layer, then an unsupported head."""

    def __init__(self, head: nn.Module) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(3, 4), nn.Tanh())
        self.head = head

    def forward(self, observation: Tensor) -> Tensor:
        h: Tensor = self.head(self.body(observation))
        return h.unsqueeze(1)


def refusal(head: nn.Module) -> str:
    with pytest.raises(ContractError) as refused:
        trace_graph(Policy(head), 3, (0, 0, 0))
    return str(refused.value)


def test_an_operator_without_an_onnx_form_is_named_with_its_layer() -> None:
    message = refusal(Decomposes())
    assert message.startswith("Policy, layer head: expected operators of ONNX opset 18, got aten._linalg_svd;")
    assert "\n" not in message


def test_a_branch_on_a_value_is_named_with_its_layer() -> None:
    message = refusal(nn.Sequential(nn.Identity(), Branches()))
    assert message.startswith("Policy, layer head.1: expected")
    assert "a branch on the value of a tensor; use torch.where" in message
