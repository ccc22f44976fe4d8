"""One raw sample of a trained off-policy actor: no best of N, no mean.

A deployed policy hides how many modes it has: FMER's file takes the best of its candidates, SAC's the mean. One
sample per tick shows them, and treats all methods alike.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from odeploy_runtime.errors import ContractError
from odeploy_train.modules.ode import EULER, uniform_grid
from odeploy_train.off_policy.sac import SacActor
from odeploy_train.policies.best_of_diffusion import BestOfDiffusion
from odeploy_train.policies.best_of_n import BestOfN
from odeploy_train.policies.mlp import MlpPolicy
from odeploy_train.runs import checkpoint
from odeploy_train.runs.folder import RunCard, load_policy
from odeploy_train.runs.rollouts import Act


def one_sample(folder: Path, seed: int) -> tuple[Act, RunCard]:
    """Return a function that acts by one raw sample, and the run's card.

    Args:
        folder: of a finished run of `odeploy train fmer | sac | qvpo | dipo | dpmd`.
        seed: seed of the noise.

    Returns:
        Raw observations to actions in robot units, with fresh noise, shapes (B, O) -> (B, A); the card.

    Raises:
        ContractError: a run of another verb.
    """
    policy, card = load_policy(folder)
    if card.method not in _SAMPLERS:
        raise ContractError(
            where=str(folder),
            expected="a run of fmer, sac, qvpo, dipo or dpmd, which has samples",
            got=f"one of {card.method}",
            remedy="give the folder of an `odeploy train` run of one of these",
        )
    generator = torch.Generator().manual_seed(seed)
    return _SAMPLERS[card.method](policy, card, folder, generator), card


def _flow(policy: BestOfN, card: RunCard, _folder: Path, generator: torch.Generator) -> Act:
    flow, t_grid = policy.flow, uniform_grid(card.config["solver_steps"])
    return _drawing(lambda o, noise: flow.sample(o, noise, EULER, t_grid), (len(flow.low),), generator)


def _diffusion(policy: BestOfDiffusion, _card: RunCard, _folder: Path, generator: torch.Generator) -> Act:
    denoiser, steps = policy.diffusion, policy.diffusion.config.steps
    levels, shape = denoiser.levels.t_grid(steps), (steps, denoiser.config.action_size)
    return _drawing(lambda o, noise: denoiser.sample(o, noise, levels), shape, generator)


def _drawing(
    sample: Callable[[Tensor, Tensor], Tensor], shape: tuple[int, ...], generator: torch.Generator
) -> Act:
    @torch.no_grad()
    def act(observation: Tensor) -> Tensor:
        return sample(observation.float(), torch.randn((len(observation), *shape), generator=generator))

    return act


def _gaussian(policy: MlpPolicy, _card: RunCard, folder: Path, generator: torch.Generator) -> Act:
    """Return SAC's squashed Gaussian, from the checkpoint: the policy is its mean."""
    saved: Any = checkpoint.load(folder)
    if saved.get("kept", {}).get("policy") is not None:
        raise ContractError(
            where=str(folder),
            expected="a run that deploys its last policy, whose spread is in the checkpoint",
            got="one of --keep best",
            remedy="train with --keep last",
        )
    sizes = policy.config
    actor = SacActor(sizes.observation_size, sizes.action_size, sizes.widths, target_entropy=0.0)
    checkpoint.restore(actor, saved["modules"]["actor"], folder)

    @torch.no_grad()
    def act(observation: Tensor) -> Tensor:
        unit = actor.draw(policy.normalise(observation.double()).float(), generator)[0]
        return (policy.low + (unit + 1) / 2 * (policy.high - policy.low)).float()

    return act


_SAMPLERS: dict[str, Callable[[Any, RunCard, Path, torch.Generator], Act]] = {
    "fmer": _flow,
    "qvpo": _diffusion,
    "dipo": _diffusion,
    "dpmd": _diffusion,
    "sac": _gaussian,
}
"""Method -> (policy, card, folder, generator) to a function that acts by one raw sample."""
