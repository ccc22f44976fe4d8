"""The run of a flow policy on the PPO core.

Shared by `odeploy train fpo | fpo++ | dppo | fm-ppo | fm-a2c`. Rollouts, reward scale, advantages and learning
rate are those of `train ppo`; a method adds its actor. The reward is the task's, or with `--demos` that of
FM-IRL's teacher. Scores use zero noise ("zero-sampling" in FPO++), with a solver and steps of their own.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, TypeVar

import torch
import tyro
from torch import nn

from odeploy_runtime.errors import ContractError
from odeploy_sim.catalogue import get, has
from odeploy_sim.demonstrations.dataset import load
from odeploy_sim.own_tasks.reference import resolve
from odeploy_sim.tasks.task import Task
from odeploy_sim.tasks.vector_env import TaskVectorEnv
from odeploy_train.flow_rl.actor import FlowActor, Sampling
from odeploy_train.flow_rl.flow_ppo import FlowPpo, begin_from, deployed
from odeploy_train.inverse_rl import flow_reward
from odeploy_train.inverse_rl.flow_reward import TeacherOptions, reward_by_teacher
from odeploy_train.inverse_rl.learned_reward import warn_of_one_episode
from odeploy_train.modules.networks import initialise, initialise_orthogonal, mlp
from odeploy_train.modules.ode import SolverName, solver, uniform_grid
from odeploy_train.modules.running_moments import OBSERVATION_CLIP
from odeploy_train.on_policy import run as on_policy
from odeploy_train.on_policy.options import PpoOptions
from odeploy_train.on_policy.rollout import Rollout
from odeploy_train.on_policy.run import EnvironmentOptions, Learner, OnPolicyConfig, ppo_config
from odeploy_train.policies.flow import FlowConfig, FlowPolicy, velocity_net
from odeploy_train.runs.folder import Method, RunCard, load_policy
from odeploy_train.runs.options import require_from_zero, require_positive
from odeploy_train.runs.provenance import weights_hash


@dataclass(frozen=True)
class FlowOptions(PpoOptions, EnvironmentOptions):
    """Options of a flow policy."""

    solver: SolverName = "euler"
    """Solver of rollouts."""
    solver_steps: int = 10
    """K, solver steps of rollouts."""
    score_solver: SolverName = "euler"
    """Solver of scores; `odeploy export` chooses its own."""
    score_steps: int = 10
    """Solver steps of scores."""
    squash: bool = True
    """Whether the action is tanh of the flow's end; otherwise the environment clips it."""
    action_scale: float = 1.0
    """Factor of the flow's end, before tanh or clip."""
    output_scale: float = 0.25
    """Factor of the network's output."""
    average: float = 0.0
    """Decay per iteration of the moving average of the weights, which is deployed; 0 for no average."""
    width: int = 64
    """Neurons per hidden layer of the velocity."""
    depth: int = 3
    """Hidden layers of the velocity, SiLU."""
    zero_start: bool = False
    """Begin with a velocity of 0, by zeros in its last layer: first actions are the bounded noise. Without effect
    with --init."""
    critic_widths: tuple[int, ...] = (64, 64)
    """Hidden layers of the critic, tanh."""
    critic_warmup: int = 0
    """Iterations at the start that train critic and normalisers only: the first updates by an untrained critic
    would undo a teacher."""
    teacher: Annotated[Path | None, tyro.conf.arg(name="init")] = None
    """Run folder of a flow policy, by `train fm-bc`, to begin from: weights and normalisers. It decides width,
    depth, squash and the scales, and its normaliser stays fixed."""
    demos: str | None = None
    """Dataset folder, or Minari id, from which FM-IRL's teacher learns the reward; default: the task's reward."""
    reward: TeacherOptions = field(default_factory=TeacherOptions)
    """Options of this teacher."""


@dataclass(frozen=True)
class Config(OnPolicyConfig, FlowOptions):
    """Options of every flow policy trained by reward."""

    clip: float = 0.05
    """Clip range ε of the ratio."""


C = TypeVar("C", bound=Config)
MakeActor = Callable[[C, FlowConfig, torch.Generator], FlowActor]
"""(options, sizes, generator of first weights) -> a method's actor; the velocity is initialised later."""


def run(method: Method, config: C, make_actor: MakeActor[C]) -> None:
    """Train, or continue, and print the run folder."""
    on_policy.check(config)
    require_positive(
        clip=config.clip, solver_steps=config.solver_steps, score_steps=config.score_steps,
        action_scale=config.action_scale, output_scale=config.output_scale, width=config.width,
        depth=config.depth,
    )  # fmt: skip
    require_from_zero(average=(config.average, 1.0), critic_warmup=(config.critic_warmup, math.inf))
    flow_reward.check(config.reward)
    task = resolve(config.task)
    demonstrations = None if config.demos is None else load(config.demos, task)
    teacher, source = (None, None) if config.teacher is None else _load_teacher(config.teacher, task)
    settled, sizes = _settled(config, task, teacher)

    def rewarded(envs: TaskVectorEnv) -> Learner:
        learner = start(settled, make_actor, task, envs, sizes, teacher)
        if demonstrations is not None:
            warn_of_one_episode(demonstrations)
            reward_by_teacher(learner, settled.reward, demonstrations, task)
        if learner.ppo.moments.count == 0:  # then the first iteration trains no critic
            assert isinstance(learner.ppo, FlowPpo)
            learner.ppo.critic_warmup += config.critic_warmup > 0
        return learner

    data_hash = None if demonstrations is None else demonstrations.data_hash
    on_policy.run(method, settled, task, sizes, rewarded, data_hash=data_hash, teacher=source)


def start(
    config: C,
    make_actor: MakeActor[C],
    task: Task,
    envs: TaskVectorEnv,
    sizes: FlowConfig,
    teacher: FlowPolicy | None = None,
) -> Learner:
    """Make a learner at step 0, from a teacher if there is one."""
    generator = torch.Generator().manual_seed(config.seed)
    actor = make_actor(config, sizes, generator)
    actor.scale.fill_(config.action_scale)
    critic = mlp((sizes.observation_size, *config.critic_widths, 1), nn.Tanh)
    initialise(actor.velocity, generator)
    if config.zero_start:
        nn.init.zeros_(actor.velocity.last.weight)
        nn.init.zeros_(actor.velocity.last.bias)
    initialise_orthogonal(critic, 1.0, generator)
    ppo = FlowPpo(ppo_config(config), actor, critic, envs, generator, critic_warmup=config.critic_warmup)
    if teacher is not None:
        begin_from(teacher, ppo, task)
    more = nn.ModuleDict()
    if config.average > 0:
        ppo.average, ppo.decay = velocity_net(sizes), config.average
        ppo.average.load_state_dict(actor.velocity.state_dict())
        more["average"] = ppo.average

    def before_update(_rollout: Rollout) -> dict[str, float]:
        spent, actor.sampling_s = actor.sampling_s, 0.0
        return {"wall/sampler_s": spent}

    scored = solver(config.score_solver), uniform_grid(config.score_steps)
    return Learner(ppo, lambda: deployed(ppo, task, sizes, *scored), more, before_update)


def sampling(config: Config, perturbation: float = 0.0) -> Sampling:
    """Return the sampler of rollouts that the options describe."""
    return Sampling(
        solver(config.solver),
        uniform_grid(config.solver_steps),
        config.squash,
        config.output_scale,
        perturbation,
    )


def _settled(config: C, task: Task, teacher: FlowPolicy | None) -> tuple[C, FlowConfig]:
    """Return the options, as far as a teacher overrides them, and the policy's sizes."""
    if teacher is not None:
        t = teacher.config
        config = replace(config, width=t.width, depth=t.depth, squash=t.squash, output_scale=1.0, action_scale=1.0)
        return config, replace(t, clip=OBSERVATION_CLIP)
    O, A = len(task.observation), len(task.action)  # noqa: E741
    return config, FlowConfig(O, A, config.width, config.depth, clip=OBSERVATION_CLIP, squash=config.squash)


def _load_teacher(folder: Path, task: Task) -> tuple[FlowPolicy, dict[str, Any]]:
    policy, card = load_policy(folder)
    if not isinstance(policy, FlowPolicy) or not _same_robot(card, task):
        raise ContractError(
            where=f"--init {folder}",
            expected=f"a flow policy with the signals of {task.name}",
            got=f"a policy of kind {card.kind} of {card.task}, by {card.method}",
            remedy="give the folder of an `odeploy train fm-bc` run on the same robot; rewards may differ",
        )
    if policy.config.horizon > 1:
        raise ContractError(
            where=f"--init {folder}",
            expected="a flow of one action at a time",
            got=f"one of {policy.config.horizon} in a chunk",
            remedy="give an `odeploy train fm-bc` run with --horizon 1",
        )
    return policy, card.provenance | {"weights_hash": weights_hash(policy)}


def _same_robot(card: RunCard, task: Task) -> bool:
    if card.task_digest == task.digest:
        return True
    if not has(card.task):
        return not card.task_digest and card.task == task.name
    other = get(card.task)
    return (other.observation, other.action, other.rate_hz) == (task.observation, task.action, task.rate_hz)
