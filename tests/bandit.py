"""A bandit with one state and one best action: a test of an actor's update without an environment."""

import torch

from odeploy_train.flow_rl.actor import FlowActor
from odeploy_train.on_policy.rollout import Rows

BEST = 0.6


def practise(actor: FlowActor, iterations: int, clip: float, lr: float, generator: torch.Generator) -> float:
    """Update an actor of one observation on the reward -‖a - 0.6‖², as PPO does, a critic first if there is one.

    Returns:
        The mean of ‖a - 0.6‖² over the updated policy; N(0, I) in two dimensions has 2.7.
    """
    torch.set_num_threads(1)  # on a busy machine two threads spin at every barrier of networks this small
    observation = torch.zeros(512, 1)
    optimizer = torch.optim.Adam(actor.parameters(), lr=lr, fused=True)
    for _ in range(iterations):
        with torch.no_grad():
            action = actor.act(observation, generator)
            kept = actor.remember(observation, action, generator)
        reward = -(action - BEST).square().sum(-1)
        advantage = (reward - reward.mean()) / reward.std()
        rows = Rows(observation, action, advantage, advantage, advantage, kept)
        for moves in (False, True) if actor.follows_critic else (True,):
            actor.velocity.requires_grad_(moves)
            for _ in range(8):
                for index in torch.randperm(512, generator=generator).view(2, 256):
                    loss, _ = actor.objective(rows.take(index), clip)
                    optimizer.zero_grad()
                    loss.backward()  # type: ignore[no-untyped-call]
                    optimizer.step()
    distance: float = (actor.act(observation, generator) - BEST).square().sum(-1).mean().item()
    return distance
