"""`odeploy train fm-irl`: a student explores, a flow teacher rewards it and holds it near the expert.

FM-IRL (arXiv 2510.09222). Student, rollouts and updates are those of `odeploy train ppo`; the teacher
(`train/joint_flow.py`) is trained once a rollout to tell the expert's pairs from the student's, as the
adversarial methods train their discriminators, and its reward is L_0 - L_1. What FM-IRL adds is the regulariser

    L = L_PPO + β ½ E_{(s~, a~) ~ teacher, c = 1} ‖μ(s~) - a~‖²

whose pairs the teacher makes by K Euler steps from noise. s~ lies in normalised-observation space, and so does all
that the teacher sees. The pairs average over modes, as the student does: it is unimodal.

The authors draw 1024 pairs anew for every minibatch, 40 steps each (`--redraw minibatch`); one draw for each
rollout costs a hundredth of that and is the default. Ours also begins with a teacher that has seen the expert
alone (`--pretrain`), since the regulariser pulls from the first update on.
"""

from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from typing import Literal

import torch
import tyro
from rich.console import Console
from rich.progress import track
from torch import Tensor

from sim_bridge.catalogue import get
from sim_bridge.demonstrations import Demonstrations, load
from sim_bridge.task import Task
from sim_bridge.vector import make_vector
from sim_bridge.vector_env import TaskVectorEnv
from train import gaussian_ppo, imitation
from train.gaussian import GaussianActor
from train.imitation import attach
from train.joint_flow import JointFlow
from train.learned_reward import LearnedReward
from train.loop import require_positive
from train.mlp_policy import MlpConfig
from train.on_policy import Learner, train
from train.ppo import OBSERVATION_CLIP, Info, Rollout
from train.run import begin, new_card


@dataclass(frozen=True, kw_only=True)
class Config(imitation.Config):
    """Trains a student by FM-IRL. The same command continues an interrupted run."""

    entropy: float = 0.001
    """Coefficient of the entropy bonus."""
    discriminator_lr: float = 1e-3
    """The teacher's learning rate, constant; the paper has 1e-4 on hopper and walker2d."""
    teacher_width: int = 256
    """Neurons of each of the teacher's hidden layers; the paper has 1024."""
    teacher_depth: int = 3
    """Hidden layers of the teacher; the paper has 4."""
    draws: int = 8
    """Of flow time and noise for each rewarded tick; the paper has 1."""
    shared_draws: bool = True
    """Whether both labels see the same draws; in the authors' code each has its own."""
    flow_weight: float = 1.0
    """Of the expert's flow loss beside the classification."""
    bonus: float = 0.0
    """Added to every reward: the paper's `airl-positive` has 20, on tasks that end by a fall."""
    rewarded: bool = True
    """Whether the teacher rewards; without it every tick earns the bonus alone (an ablation)."""
    regulariser: float = 1.0
    """β; 0 for none (an ablation)."""
    pairs: int = 1024
    """That the teacher makes for the regulariser; the paper has 512 on the maze."""
    flow_steps: int = 40
    """K, Euler steps of each pair."""
    redraw: Literal["update", "minibatch"] = "update"
    """When pairs are made anew: once a rollout, or for every minibatch as in the paper."""
    pretrain: int = 2_000
    """Gradient steps of the teacher on the expert's flow loss alone, before the first rollout; 0 for none."""


def main(arguments: list[str]) -> None:
    """Trains, or continues, and says where the run is."""
    config, console = tyro.cli(Config, args=arguments, prog="odeploy train fm-irl"), Console()
    imitation.check(config)
    require_positive(
        teacher_width=config.teacher_width, teacher_depth=config.teacher_depth, draws=config.draws,
        pairs=config.pairs, flow_steps=config.flow_steps,
    )  # fmt: skip
    torch.set_num_threads(config.threads)
    task = get(config.task)
    demonstrations = load(config.demos, task)
    imitation.warn_of_one_episode(demonstrations, console)
    sizes = MlpConfig(len(task.observation), len(task.action), config.widths, clip=OBSERVATION_CLIP)
    begin(config.out, new_card("fm-irl", task.name, demonstrations.data_hash, config, sizes))
    with closing(make_vector(task, config.envs, config.seed, workers=config.workers)) as envs:
        learner, reward = start(config, task, envs, sizes, demonstrations)
        learner.resume(config)
        if learner.ppo.steps >= config.steps:
            console.print(f"finished already, at step {learner.ppo.steps}")
        else:
            if learner.ppo.steps == 0:
                pretrain(config, learner, reward, console)
            train(config, learner, task, console)
    console.print(f"run: {config.out}", soft_wrap=True)


@dataclass
class Regulariser:
    """β ½ E‖μ(s~) - a~‖² over pairs of the teacher's.

    Attributes:
        actor: whose mean is held near.
        draw: makes pairs anew.
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
        """For one minibatch."""
        if self.pairs is None or self.each_minibatch:
            self.pairs = self.draw()
        observation, action = self.pairs
        distance = (self.actor.mean(observation) - action).square().sum(-1).mean()
        return self.weight * 0.5 * distance, {"regulariser": distance.detach()}


def start(
    config: Config, task: Task, envs: TaskVectorEnv, sizes: MlpConfig, demonstrations: Demonstrations
) -> tuple[Learner, LearnedReward]:
    """A learner that has seen nothing yet but the demonstrations' moments, and what rewards it."""
    learner = gaussian_ppo.start(config, task, envs, sizes)
    ppo = learner.ppo
    assert isinstance(ppo.actor, GaussianActor)
    teacher = JointFlow(
        sizes.observation_size, sizes.action_size, config.teacher_width, config.teacher_depth, config.draws,
        config.shared_draws, config.flow_weight, config.bonus, ppo.generator,
    )  # fmt: skip
    reward = attach(learner, config, teacher, demonstrations, task)
    if not config.rewarded:
        ppo.reward = lambda rollout: torch.full_like(rollout.reward, config.bonus)
    if config.regulariser > 0:
        held = Regulariser(
            ppo.actor,
            lambda: teacher.sample(config.pairs, config.flow_steps, ppo.generator),
            config.regulariser,
            config.redraw == "minibatch",
        )

        def learn(rollout: Rollout) -> dict[str, float]:
            figures = reward.learn(rollout)
            held.pairs = None
            return figures

        ppo.added_loss, learner.before_update = held.loss, learn
    return learner, reward


def pretrain(config: Config, learner: Learner, reward: LearnedReward, console: Console) -> None:
    """The expert's flow loss alone, under the normaliser that begins with the demonstrations' moments."""
    teacher, generator = learner.more["discriminator"], learner.ppo.generator
    assert isinstance(teacher, JointFlow)
    optimizer, expert = reward.optimizer, reward.expert_transitions().pair
    steps = range(config.pretrain)
    for _ in track(steps, "teacher", console=console, transient=True, disable=not console.is_terminal):
        rows = torch.randint(len(expert), (config.discriminator_batch,), generator=generator)
        loss = teacher.losses(expert[rows], 1, generator)[0].mean()
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
