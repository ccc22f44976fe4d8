"""FM-IRL's teacher as the reward of any PPO learner.

`inverse_rl/fm_irl.py` adds the regulariser to it. Flow policies can learn from it too (`odeploy train fpo --demos
D`), so that their updates are compared on one reward.
"""

from dataclasses import dataclass
from functools import partial

from rich.console import Console
from rich.progress import track

from odeploy_sim.demonstrations.dataset import Demonstrations
from odeploy_sim.tasks.task import Task
from odeploy_train.inverse_rl.flow_discriminator import JointFlow, JointFlowConfig
from odeploy_train.inverse_rl.learned_reward import LearnedReward, RewardOptions, attach
from odeploy_train.on_policy.run import Learner
from odeploy_train.runs.options import require_positive


@dataclass(frozen=True, kw_only=True)
class TeacherOptions(RewardOptions):
    """Options of the teacher that rewards."""

    discriminator_lr: float = 1e-3
    """Learning rate of the teacher, constant; the paper has 1e-4 on hopper and walker2d."""
    teacher_width: int = 256
    """Neurons per hidden layer of the teacher; the paper has 1024."""
    teacher_depth: int = 3
    """Hidden layers of the teacher; the paper has 4."""
    draws: int = 2
    """Draws of flow time and noise per rewarded tick; the paper has 1."""
    shared_draws: bool = True
    """Use the same draws for both labels; in the authors' code each has its own."""
    flow_weight: float = 1.0
    """Weight of the expert's flow loss, relative to the classification."""
    bonus: float = 0.0
    """Bonus added to every reward; the paper's `airl-positive` has 20, on tasks that end by a fall."""
    pretrain: int = 10_000
    """Gradient steps of the teacher on the expert's flow loss alone, before the first rollout; 0 for none."""


def check(options: TeacherOptions) -> None:
    """Refuse options that make no sense.

    Raises:
        UsageError: names the first one.
    """
    require_positive(
        teacher_width=options.teacher_width, teacher_depth=options.teacher_depth, draws=options.draws,
        discriminator_lr=options.discriminator_lr, discriminator_batch=options.discriminator_batch,
        discriminator_epochs=options.discriminator_epochs,
    )  # fmt: skip


def reward_by_teacher(
    learner: Learner, options: TeacherOptions, demonstrations: Demonstrations, task: Task
) -> LearnedReward:
    """Let a fresh teacher reward a learner, pretrained before the first rollout."""
    config = JointFlowConfig(
        width=options.teacher_width,
        depth=options.teacher_depth,
        draws=options.draws,
        shared=options.shared_draws,
        flow_weight=options.flow_weight,
        bonus=options.bonus,
    )
    teacher = JointFlow(len(task.observation), len(task.action), config, learner.ppo.generator)
    reward = attach(learner, options, teacher, demonstrations, task)
    learner.pretrain = partial(pretrain, options, reward)
    return reward


def pretrain(options: TeacherOptions, reward: LearnedReward, console: Console) -> None:
    """Minimise the expert's flow loss alone, with the demonstrations' normaliser."""
    teacher, generator = reward.module, reward.ppo.generator
    assert isinstance(teacher, JointFlow)
    optimizer = reward.optimizer
    steps = range(options.pretrain)
    for _ in track(steps, "teacher", console=console, transient=True, disable=not console.is_terminal):
        expert = reward.draw_expert(options.discriminator_batch).pair
        loss = teacher.losses(expert, 1, generator)[0].mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
