"""`odeploy train fm-irl`: a flow teacher rewards and regularises a student.

FM-IRL (arXiv 2510.09222). Student, rollouts and updates are those of `odeploy train ppo`. The teacher
(`inverse_rl/flow_discriminator.py`) is trained once per rollout to separate the expert's pairs from the student's,
as the adversarial methods train their discriminators. Its reward is L_0 - L_1. FM-IRL adds the regulariser

    L = L_PPO + β ½ E_{(s~, a~) ~ teacher, c = 1} ‖μ(s~) - a~‖² / A

whose mean is over the A action dimensions too, as in the authors' code: β has one meaning for all robots. The
teacher samples the pairs by K Euler steps from noise. s~ is a normalised observation, like everything the teacher
sees. The pairs average over modes, as the student does: it is unimodal.

The authors redraw 1024 pairs for every minibatch, 40 steps each (`--redraw minibatch`). One draw per rollout costs
a hundredth of that and is the default. With `--pairs-from demonstrations` the pairs are the expert's own: whether
it matters that a flow generates them. Ours also pretrains the teacher on the expert alone (`--pretrain`), since
the regulariser acts from the first update on.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
import tyro
from torch import Tensor

from odeploy_sim.demonstrations.dataset import Demonstrations, load
from odeploy_sim.own_tasks.reference import resolve
from odeploy_sim.tasks.task import Task
from odeploy_sim.tasks.vector_env import TaskVectorEnv
from odeploy_train.inverse_rl import flow_reward
from odeploy_train.inverse_rl.flow_discriminator import JointFlow
from odeploy_train.inverse_rl.flow_reward import TeacherOptions, reward_by_teacher
from odeploy_train.inverse_rl.learned_reward import LearnedReward, warn_of_one_episode
from odeploy_train.on_policy import gaussian_ppo
from odeploy_train.on_policy import run as on_policy
from odeploy_train.on_policy.gaussian import GaussianActor
from odeploy_train.on_policy.rollout import Rollout
from odeploy_train.on_policy.run import Learner, run
from odeploy_train.policies.mlp import MlpConfig
from odeploy_train.runs.learning_curve import Info
from odeploy_train.runs.options import require_positive


@dataclass(frozen=True, kw_only=True)
class Config(TeacherOptions, gaussian_ppo.Config):
    """Train a student by FM-IRL. The same command continues an interrupted run."""

    demos: str
    """Dataset folder, or Minari id."""
    entropy: float = 0.001
    """Coefficient of the entropy bonus."""
    value_coefficient: float = 0.25
    """Weight of the critic's squared error in the loss; the paper's code has 0.5, of half the error."""
    rewarded: bool = True
    """Reward by the teacher; without it every tick earns the bonus alone (an ablation)."""
    regulariser: float = 1.0
    """Weight β of the regulariser; 0 for none (an ablation)."""
    pairs_from: Literal["teacher", "demonstrations"] = "teacher"
    """Source of the regulariser's pairs; without a flow, `demonstrations` clone the expert (a control)."""
    pairs: int = 256
    """Pairs of the regulariser; the paper has 1024, and 512 on the maze."""
    flow_steps: int = 10
    """Euler steps K per pair of the teacher; the paper has 40."""
    redraw: Literal["update", "minibatch"] = "update"
    """When pairs are redrawn: once per rollout, or for every minibatch as in the paper."""


def main(arguments: list[str]) -> None:
    """Train, or continue, and print the run folder."""
    config = tyro.cli(Config, args=arguments, prog="odeploy train fm-irl")
    flow_reward.check(config)
    on_policy.check(config)
    require_positive(pairs=config.pairs, flow_steps=config.flow_steps)
    task = resolve(config.task)
    demonstrations = load(config.demos, task)
    warn_of_one_episode(demonstrations)
    sizes = gaussian_ppo.policy_sizes(config, task)
    run(
        "fm-irl", config, task, sizes, lambda envs: start(config, task, envs, sizes, demonstrations),
        data_hash=demonstrations.data_hash,
    )  # fmt: skip


@dataclass
class Regulariser:
    """Regulariser β ½ E‖μ(s~) - a~‖² / A over pairs of the teacher.

    Attributes:
        actor: actor with the mean μ.
        draw: samples new pairs.
        weight: β.
        each_minibatch: whether every call draws.
    """

    actor: GaussianActor
    draw: Callable[[], tuple[Tensor, Tensor]]
    weight: float
    each_minibatch: bool

    def __post_init__(self) -> None:
        self.pairs: tuple[Tensor, Tensor] | None = None

    def loss(self) -> tuple[Tensor, Info]:
        """Return the loss added to one minibatch, and figures."""
        if self.pairs is None or self.each_minibatch:
            self.pairs = self.draw()
        observation, action = self.pairs
        distance = (self.actor.mean(observation) - action).square().mean()
        return self.weight * 0.5 * distance, {"regulariser": distance.detach()}


def source(config: Config, reward: LearnedReward) -> Callable[[], tuple[Tensor, Tensor]]:
    """Return the function that draws the regulariser's pairs (s~, a~).

    It returns shapes (pairs, O), (pairs, A).
    """
    teacher = reward.module
    assert isinstance(teacher, JointFlow)

    def demonstrated() -> tuple[Tensor, Tensor]:
        expert = reward.draw_expert(config.pairs)
        return expert.observation, expert.action

    def generated() -> tuple[Tensor, Tensor]:
        return teacher.sample(config.pairs, config.flow_steps, reward.ppo.generator)

    return demonstrated if config.pairs_from == "demonstrations" else generated


def start(
    config: Config, task: Task, envs: TaskVectorEnv, sizes: MlpConfig, demonstrations: Demonstrations
) -> Learner:
    """Make a learner at step 0, rewarded and regularised by a fresh teacher."""
    learner = gaussian_ppo.start(config, task, envs, sizes)
    ppo = learner.ppo
    assert isinstance(ppo.actor, GaussianActor)
    reward = reward_by_teacher(learner, config, demonstrations, task)
    if not config.rewarded:
        ppo.reward = lambda rollout: torch.full_like(rollout.reward, config.bonus)
    if config.regulariser > 0:
        regulariser = Regulariser(
            ppo.actor, source(config, reward), config.regulariser, config.redraw == "minibatch"
        )
        learn = learner.before_update
        assert learn is not None

        def learn_and_redraw(rollout: Rollout) -> dict[str, float]:
            regulariser.pairs = None
            return learn(rollout)

        ppo.added_loss, learner.before_update = regulariser.loss, learn_and_redraw
    return learner
