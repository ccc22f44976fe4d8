"""The table of policy types: every type is rebuilt from its JSON."""

from pathlib import Path

import pytest

from odeploy_runtime.errors import FormatError
from odeploy_runtime.typed_json import encode
from odeploy_train.policies.best_of_n import BestOfNConfig
from odeploy_train.policies.diffusion import DiffusionConfig
from odeploy_train.policies.flow import FlowConfig
from odeploy_train.policies.kinds import KINDS, PolicyConfig, build, kind_of, sizes
from odeploy_train.policies.mlp import MlpConfig
from odeploy_train.policies.recurrent import RecurrentConfig
from odeploy_train.policies.student import StudentConfig

CONFIGS: tuple[PolicyConfig, ...] = (
    FlowConfig(3, 2, width=8),
    BestOfNConfig(FlowConfig(3, 2, width=8), (4,)),
    DiffusionConfig(3, 2, width=8, steps=5),
    StudentConfig(3, 2, width=8),
    RecurrentConfig(3, 2, 5),
    MlpConfig(3, 2, (8,)),
)


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: type(config).__name__)
def test_a_policy_is_rebuilt_from_its_type_and_its_sizes_in_json(config: PolicyConfig) -> None:
    kind, data = kind_of(config), encode(config)
    assert sizes(kind, data, "config.json") == config
    assert type(build(kind, data, "config.json")) is KINDS[kind].policy


def test_every_type_is_tested() -> None:
    assert {kind_of(config) for config in CONFIGS} == set(KINDS)


def test_sizes_of_another_type_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match=r"config\.json"):
        build("recurrent", {"observation_size": 3}, str(tmp_path / "config.json"))
