"""Deployment settings: noise, solver, steps and candidates of a file."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from odeploy_export.kinds.kind import Kind
from odeploy_export.kinds.table import deployed, kind_of
from odeploy_export.options import SamplerOptions
from odeploy_runtime.errors import ContractError, UsageError
from odeploy_runtime.policy_file.manifest import ANCESTRAL
from odeploy_train.modules.ode import solver

NoiseMode = Literal["zero", "normal"]


@dataclass(frozen=True, kw_only=True)
class Axes:
    """Sampler options to combine; each takes several values."""

    noise: tuple[NoiseMode, ...] = ("zero", "normal")
    """Noise modes: zeros give the one deterministic answer, normal is N(0, I)."""
    steps: tuple[int, ...] = (1, 2, 5, 10)
    """Numbers of steps: K of a flow; S of a diffusion policy, at most the steps of its training."""
    solver: tuple[str, ...] = ("euler", "midpoint", "heun")
    """ODE solvers of a flow: `euler`, `midpoint`, `heun`, `rk4`."""
    candidates: tuple[int, ...] = (1, 4, 16, 32)
    """Numbers N of candidates, for a policy with critics. Zero noise is combined with 1 only, since it makes all
    candidates equal."""


@dataclass(frozen=True)
class Setting:
    """How one file gets from noise to action.

    Attributes:
        noise: mode.
        solver: ODE solver; `ddpm` for a diffusion policy.
        steps: K, or S.
        candidates: N.
        evaluations: evaluations of the network for one candidate, one after the other.
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

    def sampler_options(self, kind: Kind) -> SamplerOptions:
        """Return the setting as options of an export, for a policy type."""
        return kind.options_of(noise=self.noise, steps=self.steps, solver=self.solver, candidates=self.candidates)


def settings(policy: Any, axes: Axes, action_size: int, where: str) -> list[Setting]:
    """Return all combinations for a policy.

    They are ordered by noise, then from few candidates and steps to many.

    Raises:
        ContractError: a policy that samples nothing.
        UsageError: no setting at all, or one that the policy does not have.
    """
    kind = kind_of(policy)
    if "steps" not in kind.options:
        raise ContractError(
            where=where,
            expected="a policy that samples its actions: a flow, a best of N or a diffusion",
            got=f"one of type {kind.name}",
            remedy="give the run of another method; this one has no sampler",
        )
    made = list(dict.fromkeys(_combined(kind, axes)))
    for setting in made:  # refuses impossible settings before anything is exported
        deployed(policy, setting.sampler_options(kind), action_size)
    if not made:
        raise UsageError(
            where="--noise, --steps, --solver, --candidates",
            expected="at least one setting",
            got=f"none for {where}",
            remedy="give each option a value; zero noise requires --candidates 1",
        )
    return made


def _combined(kind: Kind, axes: Axes) -> Iterator[Setting]:
    has_solver, has_critics = "solver" in kind.options, "candidates" in kind.options
    solvers = {name: len(solver(name).b) for name in axes.solver} if has_solver else {ANCESTRAL: 1}
    for noise in axes.noise:
        for candidates in axes.candidates if has_critics else (1,):
            if noise == "zero" and candidates > 1:
                continue
            for name, stages in solvers.items():
                for steps in axes.steps:
                    yield Setting(noise, name, steps, candidates, stages * steps)
