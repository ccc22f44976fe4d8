"""The run of a flow policy on the PPO core: what `odeploy train fpo | fpo++ | dppo | fm-ppo | fm-a2c` share.

Rollouts, rewards' scale, advantages and learning rate are those of `train ppo`; what a method adds is its actor.
Each is rewarded by the task, or with `--demos` by FM-IRL's teacher, and scored from zero noise ("zero-sampling" in
FPO++), with a solver and steps of its own.
"""

import math
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import torch
import tyro
from rich.console import Console
from torch import nn

from odeploy_runtime.errors import ContractError
from odeploy_sim.catalogue import get
from odeploy_sim.demonstrations.dataset import load
from odeploy_sim.tasks.task import Task
from odeploy_sim.tasks.vector import Backend, make_vector
from odeploy_sim.tasks.vector_env import TaskVectorEnv
from odeploy_train.flow_rl.actor import FlowActor, Sampling
from odeploy_train.flow_rl.flow_ppo import FlowPpo, begin_from, deployed
from odeploy_train.inverse_rl import flow_reward
from odeploy_train.inverse_rl.flow_reward import TeacherOptions, pretrain, reward_by_teacher
from odeploy_train.inverse_rl.learned_reward import warn_of_one_episode
from odeploy_train.modules.networks import initialise, initialise_orthogonal, mlp
from odeploy_train.modules.ode import solver, uniform_grid
from odeploy_train.modules.running_moments import OBSERVATION_CLIP
from odeploy_train.on_policy.rollout import Rollout
from odeploy_train.on_policy.run import Learner, ppo_config, require_core, train
from odeploy_train.policies.flow import FlowConfig, FlowPolicy, velocity_net
from odeploy_train.runs.best_policy import Keep
from odeploy_train.runs.device import Device
from odeploy_train.runs.folder import begin, load_policy, new_card
from odeploy_train.runs.options import require_from_zero, require_positive
from odeploy_train.runs.provenance import weights_hash

Solver = Literal["euler", "midpoint", "heun", "rk4"]
Method = Literal["fpo", "fpo++", "dppo", "fm-ppo", "fm-a2c"]


@dataclass(frozen=True)
class Config:
    """What all of them can be told."""

    task: str
    """Name of a catalogued task."""
    out: Path
    """Folder of the run: new, or that of an interrupted one."""
    steps: int = 1_000_000
    """Of the environments, together."""
    envs: int = 8
    """Simulations stepped as one."""
    ticks: int = 512
    """Of each environment in a rollout."""
    epochs: int = 10
    """Passes over a rollout."""
    batch: int = 256
    """Rows of a minibatch; in FPO each counts with all its draws."""
    lr: float = 3e-4
    """Learning rate at the start; it falls to 0 linearly."""
    discount: float = 0.99
    """γ."""
    trace_decay: float = 0.95
    """λ of the advantage estimate."""
    clip: float = 0.05
    """ε of the ratio."""
    kl_limit: float = math.inf
    """Passes over a rollout end with the one whose estimate of KL(old ‖ new) is above it."""
    solver: Solver = "euler"
    """Of rollouts."""
    solver_steps: int = 10
    """K of rollouts."""
    score_solver: Solver = "euler"
    """Of scores; a file takes its own at `odeploy export`."""
    score_steps: int = 10
    """K of scores."""
    squash: bool = True
    """Whether the environment is given tanh of the flow's end; otherwise it clips it."""
    action_scale: float = 1.0
    """What the flow's end is multiplied by before that."""
    output_scale: float = 0.25
    """What the network's output is multiplied by."""
    average: float = 0.0
    """Decay, an iteration, of the moving average of the weights that is deployed; 0 for the weights themselves."""
    width: int = 64
    """Neurons of each hidden layer of the velocity."""
    depth: int = 3
    """Hidden layers of the velocity, SiLU."""
    critic_widths: tuple[int, ...] = (64, 64)
    """Hidden layers of the critic, tanh."""
    critic_warmup: int = 0
    """Iterations at the start in which critic and normalisers learn and the flow does not: a teacher's first
    updates by a critic that knows nothing would undo it."""
    teacher: Annotated[Path | None, tyro.conf.arg(name="init")] = None
    """Run of a flow policy, by `train fm-bc`, to begin from: weights and normalisers. It decides width, depth,
    squash and the scales, and its normaliser stands still."""
    demos: str | None = None
    """Folder of a dataset, or a Minari id, by which FM-IRL's teacher rewards; the task's own reward if not
    given."""
    reward: TeacherOptions = field(default_factory=TeacherOptions)
    """Of that teacher."""
    seed: int = 0
    """Of every random number."""
    workers: int | None = None
    """Processes that step the environments; one a core if not given."""
    backend: Backend = "gymnasium"
    """What steps them; `envpool`, an extra, is faster on the four tasks that it has."""
    threads: int = 1
    """Of torch."""
    device: Device = "auto"
    """Of torch, where minibatches are learnt from; a GPU where there is one. Rollouts are collected on the CPU."""
    compile: bool = False
    """Whether `torch.compile` makes the loss: pays in long runs of small minibatches, after most of a minute."""
    score_every: int = 100_000
    """Environment steps between two scores of the zero-sampled policy, and between checkpoints."""
    score_episodes: int = 10
    """Of a score; 0 for none."""
    keep: Keep = "last"
    """Which policy is deployed: the last, or the best of those scored."""


C = TypeVar("C", bound=Config)
MakeActor = Callable[[C, FlowConfig, torch.Generator], FlowActor]
"""(options, sizes, generator of first weights) -> a method's actor; the velocity's weights are drawn later."""


def run(method: Method, config: C, make_actor: MakeActor[C]) -> None:
    """Trains, or continues, and says where the run is."""
    console = Console()
    require_positive(
        steps=config.steps, envs=config.envs, ticks=config.ticks, epochs=config.epochs, batch=config.batch,
        lr=config.lr, clip=config.clip, solver_steps=config.solver_steps, score_steps=config.score_steps,
        action_scale=config.action_scale, output_scale=config.output_scale, width=config.width,
        depth=config.depth, threads=config.threads, score_every=config.score_every,
    )  # fmt: skip
    require_core(config)
    require_from_zero(average=(config.average, 1.0), critic_warmup=(config.critic_warmup, math.inf))
    flow_reward.check(config.reward)
    torch.set_num_threads(config.threads)
    task = get(config.task)
    demonstrations = None if config.demos is None else load(config.demos, task)
    data_hash = None if demonstrations is None else demonstrations.data_hash
    teacher, source = (None, None) if config.teacher is None else _load_teacher(config.teacher, task)
    config, sizes = _settled(config, task, teacher)
    begin(config.out, new_card(method, task.name, data_hash, config, sizes, source))
    with closing(
        make_vector(task, config.envs, config.seed, workers=config.workers, backend=config.backend)
    ) as envs:
        learner = start(config, make_actor, task, envs, sizes, teacher)
        reward = None
        if demonstrations is not None:
            warn_of_one_episode(demonstrations, console)
            reward = reward_by_teacher(learner, config.reward, demonstrations, task)[1]
        learner.resume(config)
        if learner.ppo.steps >= config.steps:
            console.print(f"finished already, at step {learner.ppo.steps}")
        else:
            if reward is not None and learner.ppo.steps == 0:
                pretrain(config.reward, reward, console)
            train(config, learner, task, console)
    console.print(f"run: {config.out}", soft_wrap=True)


def start(
    config: C,
    make_actor: MakeActor[C],
    task: Task,
    envs: TaskVectorEnv,
    sizes: FlowConfig,
    teacher: FlowPolicy | None = None,
) -> Learner:
    """A learner that has seen nothing yet, or knows what its teacher does."""
    generator = torch.Generator().manual_seed(config.seed)
    actor = make_actor(config, sizes, generator)
    actor.scale.fill_(config.action_scale)
    critic = mlp((sizes.observation_size, *config.critic_widths, 1), nn.Tanh)
    initialise(actor.velocity, generator)
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
    """How rollouts sample, by the options."""
    return Sampling(
        solver(config.solver),
        uniform_grid(config.solver_steps),
        config.squash,
        config.output_scale,
        perturbation,
    )


def _settled(config: C, task: Task, teacher: FlowPolicy | None) -> tuple[C, FlowConfig]:
    """The options after what a teacher decides of them, and the sizes of the policy."""
    if teacher is not None:
        t = teacher.config
        config = replace(config, width=t.width, depth=t.depth, squash=t.squash, output_scale=1.0, action_scale=1.0)
        return config, replace(t, clip=OBSERVATION_CLIP)
    O, A = len(task.observation), len(task.action)  # noqa: E741
    return config, FlowConfig(O, A, config.width, config.depth, clip=OBSERVATION_CLIP, squash=config.squash)


def _load_teacher(folder: Path, task: Task) -> tuple[FlowPolicy, dict[str, Any]]:
    policy, card = load_policy(folder)
    if not isinstance(policy, FlowPolicy) or not _same_robot(get(card.task), task):
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


def _same_robot(one: Task, other: Task) -> bool:
    return (one.observation, one.action, one.rate_hz) == (other.observation, other.action, other.rate_hz)
