"""How a graph gets from noise to action: what was asked for, held against what the policy can do."""

from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from odeploy_export.parity.gate import Exportable
from odeploy_runtime.errors import UsageError
from odeploy_runtime.policy_file.manifest import ANCESTRAL, Noise, Sampler
from odeploy_train.modules.ode import solver, uniform_grid
from odeploy_train.policies.best_of_diffusion import BestOfDiffusion
from odeploy_train.policies.best_of_n import DEPLOYED_CANDIDATES, BestOfN
from odeploy_train.policies.diffusion import DEPLOYED_STEPS, DiffusionPolicy
from odeploy_train.policies.policies import FlowPolicy


@dataclass(frozen=True, kw_only=True)
class SamplingOptions:
    """The options of a generative policy's sampler; None is what is usual for its kind."""

    solver: str | None = None
    """Of a flow: `euler`, `midpoint`, `heun` or `rk4` (euler if not given)."""
    steps: int | None = None
    """Of a flow: K, solver steps from noise to action (10 if not given). Of a diffusion policy: S, the steps of
    its training that the sampler visits (100, or all if there are fewer)."""
    t_grid: str | None = None
    """Of a flow, instead of equal steps: its K + 1 times from 0 to 1, separated by commas."""
    candidates: int | None = None
    """Of a policy with critics: N, actions that are drawn, of which the best is taken (16 of a flow if not given,
    1 of a diffusion policy, which is what its training scores; the authors of QVPO and DPMD score 32)."""
    noise: Literal["zero", "normal"] | None = None
    """Of a flow or a diffusion policy: all draws are zeros, the one deterministic answer, or N(0, I) (normal if
    not given)."""


def sampling(policy: Exportable, options: SamplingOptions, action_size: int) -> tuple[Sampler | None, Noise]:
    """Sampler and noise contract of a policy, by its kind.

    Raises:
        UsageError: an option that this kind of policy has not, or a value that makes no sense.
    """
    if isinstance(policy, DiffusionPolicy | BestOfDiffusion):
        refuse_given(
            options, ("solver", "t_grid"), "a flow policy", "a diffusion policy, which has no ODE to solve"
        )
        if isinstance(policy, DiffusionPolicy):
            refuse_given(options, ("candidates",), "a policy with critics", "a diffusion policy, which has none")
        candidates = _candidates(options, usual=1)
        levels = policy.proposer.levels if isinstance(policy, BestOfDiffusion) else policy.levels
        steps = min(DEPLOYED_STEPS, levels.steps) if options.steps is None else options.steps
        sampler = Sampler(ANCESTRAL, steps, levels.t_grid(steps), candidates)
        return sampler, Noise(options.noise or "normal", (candidates, steps, action_size))
    if not isinstance(policy, FlowPolicy | BestOfN):
        flow_only = ("solver", "steps", "t_grid", "noise", "candidates")
        refuse_given(options, flow_only, "a flow policy", "one that answers without noise and without an ODE")
        return None, Noise("none")
    if isinstance(policy, FlowPolicy):
        refuse_given(options, ("candidates",), "a policy with critics", "a flow, which has none")
        candidates, flow = 1, policy
    else:
        candidates, flow = _candidates(options, usual=DEPLOYED_CANDIDATES), policy.flow
    tableau, t_grid = solver(options.solver or "euler"), _t_grid(options)
    noise = Noise(options.noise or "normal", (candidates, 1, flow.config.chunk_size))
    return Sampler(tableau.name, len(t_grid) - 1, t_grid, candidates), noise


def refuse_given(options: object, names: tuple[str, ...], expected: str, got: str) -> None:
    """Refuses those of the options that were given, that is, are not None.

    Raises:
        UsageError: the message names them as the command line does.
    """
    given = [f"--{name.replace('_', '-')}" for name in names if getattr(options, name) is not None]
    if given:
        raise UsageError(where=", ".join(given), expected=expected, got=got, remedy="leave the option out")


def _candidates(options: SamplingOptions, usual: int) -> int:
    candidates = usual if options.candidates is None else options.candidates
    if candidates < 1:
        raise UsageError(
            where="--candidates",
            expected="at least 1",
            got=str(candidates),
            remedy="ask for 1 or more",
        )
    if candidates > 1 and options.noise == "zero":
        raise UsageError(
            where="--noise zero",
            expected="1 candidate, since all are the same without noise",
            got=str(candidates),
            remedy="give --candidates 1, or --noise normal",
        )
    return candidates


def _t_grid(options: SamplingOptions) -> tuple[float, ...]:
    """The K + 1 times from noise to action: those that were asked for, or equal steps."""
    if options.t_grid is None:
        return uniform_grid(10 if options.steps is None else options.steps)
    try:
        times = tuple(float(part) for part in options.t_grid.split(","))
    except ValueError:
        times = ()
    rises = all(now < following for now, following in pairwise(times))
    if len(times) < 2 or not rises or (times[0], times[-1]) != (0, 1):
        raise UsageError(
            where="--t-grid",
            expected="times that rise from 0 to 1, separated by commas",
            got=repr(options.t_grid),
            remedy="give for example 0,0.1,0.4,1",
        )
    if options.steps not in (None, len(times) - 1):
        raise UsageError(
            where="--steps",
            expected=f"{len(times) - 1}, as --t-grid has",
            got=str(options.steps),
            remedy="leave one of the two out",
        )
    return times
