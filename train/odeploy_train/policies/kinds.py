"""The table of policy kinds: name in `config.json`, class, class of the sizes."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from odeploy_runtime.typed_json import decode
from odeploy_train.policies.best_of_diffusion import BestOfDiffusion
from odeploy_train.policies.best_of_n import BestOfN, BestOfNConfig
from odeploy_train.policies.diffusion import DiffusionConfig, DiffusionPolicy
from odeploy_train.policies.flow import FlowConfig, FlowPolicy
from odeploy_train.policies.mlp import MlpConfig, MlpPolicy
from odeploy_train.policies.recurrent import RecurrentConfig, RecurrentPolicy
from odeploy_train.policies.student import StudentConfig, StudentPolicy

Kind = Literal["flow", "best-of-n", "diffusion", "student", "recurrent", "mlp"]
PolicyConfig = FlowConfig | BestOfNConfig | DiffusionConfig | StudentConfig | RecurrentConfig | MlpConfig
Policy = FlowPolicy | BestOfN | DiffusionPolicy | BestOfDiffusion | StudentPolicy | RecurrentPolicy | MlpPolicy
"""Every policy that a run can give; a `BestOfDiffusion` is a diffusion policy with the critics beside it."""


@dataclass(frozen=True)
class PolicyKind:
    """One row of the table."""

    name: Kind
    """Name in `config.json`."""
    config: type[PolicyConfig]
    """Class of its sizes."""
    policy: type[Policy]
    """Class of the policy, built from its sizes alone."""
    with_critics: Callable[[Any, Sequence[int], bool], BestOfDiffusion] | None = None
    """Class of the policy with its critics, where the checkpoint has them beside the policy."""


KINDS: dict[Kind, PolicyKind] = {
    kind.name: kind
    for kind in (
        PolicyKind("flow", FlowConfig, FlowPolicy),
        PolicyKind("best-of-n", BestOfNConfig, BestOfN),
        PolicyKind("diffusion", DiffusionConfig, DiffusionPolicy, with_critics=BestOfDiffusion),
        PolicyKind("student", StudentConfig, StudentPolicy),
        PolicyKind("recurrent", RecurrentConfig, RecurrentPolicy),
        PolicyKind("mlp", MlpConfig, MlpPolicy),
    )
}


def kind_of(config: PolicyConfig) -> Kind:
    """Return the name of the kind that has these sizes."""
    return next(kind.name for kind in KINDS.values() if kind.config is type(config))


def sizes(kind: Kind, data: dict[str, Any], where: str) -> PolicyConfig:
    """Decode the sizes of a policy.

    Args:
        kind: name of the kind.
        data: JSON.
        where: the file, for the message.

    Raises:
        FormatError: they are not of this kind.
    """
    return decode(KINDS[kind].config, data, where)


def build(kind: Kind, data: dict[str, Any], where: str) -> Policy:
    """Build a policy with fresh weights; see `sizes`."""
    make: Any = KINDS[kind].policy
    policy: Policy = make(sizes(kind, data, where))
    return policy
