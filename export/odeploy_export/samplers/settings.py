"""Deployment settings of one generative policy: with which noise, solver, steps and candidates it is exported."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from odeploy_export.options import SamplingOptions, sampling
from odeploy_export.parity.gate import Exportable
from odeploy_runtime.errors import ContractError, UsageError
from odeploy_runtime.policy_file.manifest import ANCESTRAL
from odeploy_train.modules.ode import solver
from odeploy_train.policies.best_of_diffusion import BestOfDiffusion
from odeploy_train.policies.best_of_n import BestOfN
from odeploy_train.policies.diffusion import DiffusionPolicy
from odeploy_train.policies.flow import FlowPolicy

NoiseMode = Literal["zero", "normal"]


@dataclass(frozen=True, kw_only=True)
class Axes:
    """The options that span the settings; each takes several values."""

    noise: tuple[NoiseMode, ...] = ("zero", "normal")
    """All draws zeros, the one deterministic answer, or N(0, I)."""
    steps: tuple[int, ...] = (1, 2, 5, 10)
    """K of a flow; S of a diffusion policy, at most the steps that it was trained with."""
    solver: tuple[str, ...] = ("euler", "midpoint", "heun")
    """Of a flow: `euler`, `midpoint`, `heun`, `rk4`."""
    candidates: tuple[int, ...] = (1, 4, 16, 32)
    """N, of a policy with critics, which choose the best; of all others 1. Zero noise is for 1 alone, since it
    makes all candidates the same."""


@dataclass(frozen=True)
class Setting:
    """How a policy gets from noise to action, in one file.

    Attributes:
        noise: mode.
        solver: of a flow; `ddpm` of a diffusion policy.
        steps: K, or S.
        candidates: N.
        evaluations: of the network for one candidate, one after the other.
    """

    noise: NoiseMode
    solver: str
    steps: int
    candidates: int
    evaluations: int

    @property
    def sampler(self) -> str:
        """Solver × steps and candidates, as tables print them."""
        label = f"{self.solver} × {self.steps}"
        return label if self.candidates == 1 else f"{label}, best of {self.candidates}"

    def export_options(self, critics: bool) -> dict[str, Any]:
        """The same as options of `odeploy export`.

        Args:
            critics: whether the policy has some; no other policy takes a number of candidates.
        """
        options: dict[str, Any] = {"noise": self.noise, "steps": self.steps}
        if self.solver != ANCESTRAL:
            options["solver"] = self.solver
        return options | ({"candidates": self.candidates} if critics else {})


def settings(policy: Exportable, axes: Axes, action_size: int, where: str) -> list[Setting]:
    """All that the axes span for a policy, noise by noise and from few candidates and steps to many.

    Raises:
        ContractError: a policy that samples nothing.
        UsageError: no setting at all, or one that the policy has not.
    """
    if not isinstance(policy, FlowPolicy | BestOfN | BestOfDiffusion | DiffusionPolicy):
        raise ContractError(
            where=where,
            expected="a policy that makes its actions of noise: a flow, a best of N or a diffusion",
            got="one that answers in one pass",
            remedy="give the run of another method; this one has nothing to choose",
        )
    made = list(dict.fromkeys(_spanned(policy, axes)))
    for setting in made:  # refuses what makes no sense before anything is exported
        sampling(policy, SamplingOptions(**setting.export_options(has_critics(policy))), action_size)
    if not made:
        raise UsageError(
            where="--noise, --steps, --solver, --candidates",
            expected="at least one setting",
            got=f"none for {where}",
            remedy="give each option a value; zero noise wants --candidates 1",
        )
    return made


def has_critics(policy: Exportable) -> bool:
    """Whether there is a choice between candidates."""
    return isinstance(policy, BestOfN | BestOfDiffusion)


def _spanned(policy: Exportable, axes: Axes) -> Iterator[Setting]:
    ancestral = isinstance(policy, DiffusionPolicy | BestOfDiffusion)
    solvers = {ANCESTRAL: 1} if ancestral else {name: len(solver(name).b) for name in axes.solver}
    for noise in axes.noise:
        for candidates in axes.candidates if has_critics(policy) else (1,):
            if noise == "zero" and candidates > 1:
                continue
            for name, stages in solvers.items():
                for steps in axes.steps:
                    yield Setting(noise, name, steps, candidates, stages * steps)
