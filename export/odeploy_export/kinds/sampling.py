"""Sampler and noise contract from the options: steps, times, candidates."""

from itertools import pairwise

from odeploy_export.options import SamplerOptions
from odeploy_runtime.errors import UsageError
from odeploy_runtime.policy_file.manifest import ANCESTRAL, Noise, Sampler
from odeploy_train.modules.ddpm import Schedule
from odeploy_train.modules.ode import solver, uniform_grid
from odeploy_train.policies.diffusion import DEPLOYED_STEPS

_STEPS = 10  # of a flow


def flow_sampling(options: SamplerOptions, chunk_size: int, candidates: int = 1) -> tuple[Sampler, Noise]:
    """Return the sampler of a flow in D dimensions.

    Raises:
        UsageError: an unknown solver, or times that do not rise from 0 to 1.
    """
    tableau, t_grid = solver(options.solver or "euler"), _t_grid(options)
    noise = Noise(options.noise or "normal", (candidates, 1, chunk_size))
    return Sampler(tableau.name, len(t_grid) - 1, t_grid, candidates), noise


def ancestral_sampling(
    options: SamplerOptions, levels: Schedule, action_size: int, candidates: int = 1
) -> tuple[Sampler, Noise]:
    """Return the sampler of a diffusion policy with a noise schedule.

    Raises:
        UsageError: more steps than the schedule has.
    """
    steps = min(DEPLOYED_STEPS, levels.steps) if options.steps is None else options.steps
    sampler = Sampler(ANCESTRAL, steps, levels.t_grid(steps), candidates)
    return sampler, Noise(options.noise or "normal", (candidates, steps, action_size))


def candidates_of(options: SamplerOptions, default: int) -> int:
    """Return the number of candidates.

    Raises:
        UsageError: less than 1, or several without noise.
    """
    candidates = default if options.candidates is None else options.candidates
    if candidates < 1:
        raise UsageError(where="--candidates", expected="at least 1", got=str(candidates), remedy="give 1 or more")
    if candidates > 1 and options.noise == "zero":
        raise UsageError(
            where="--noise zero",
            expected="1 candidate, since all are the same without noise",
            got=str(candidates),
            remedy="give --candidates 1, or --noise normal",
        )
    return candidates


def _t_grid(options: SamplerOptions) -> tuple[float, ...]:
    """Return the K + 1 times from noise to action: the given ones, or equal steps."""
    if options.t_grid is None:
        return uniform_grid(_STEPS if options.steps is None else options.steps)
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
