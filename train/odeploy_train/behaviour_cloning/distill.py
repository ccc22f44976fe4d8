"""`odeploy train distill`: a flow-matching teacher becomes a small MLP student.

The student needs one pass instead of K. It regresses onto the mean of several samples of the teacher (FM-IRL,
arXiv 2510.09222, ties its student to its teacher by the same squared error; rounds, draws and sizes are ours):

    L = E_s ‖ μ(s) - (1/n) Σ_i a_i ‖² / A,    a_i ~ teacher(s), in unit scale

first on the demonstrations' observations, then, as in DAgger (arXiv 1011.0686), also on those that the present
student visits. The mean is all that a deterministic student can represent of a distribution: where a teacher has
two modes, it lies between them.

Measured on maze-medium with the teachers of `train fm-bc`, three seeds: success 0.990, 0.995, 0.990 over 200
lockstep episodes, 31 to 37 s on one core each.
"""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import torch
import tyro
from torch import Tensor

from odeploy_runtime.errors import ContractError, UsageError
from odeploy_sim.demonstrations.dataset import load
from odeploy_sim.own_tasks.named import named
from odeploy_sim.tasks.task import Task
from odeploy_train.behaviour_cloning.loop import Cloning, State
from odeploy_train.modules.networks import initialise
from odeploy_train.modules.ode import EULER, uniform_grid
from odeploy_train.policies.flow import FlowPolicy
from odeploy_train.policies.student import StudentConfig, StudentPolicy
from odeploy_train.runs.folder import RunCard, load_policy
from odeploy_train.runs.options import require_positive
from odeploy_train.runs.provenance import weights_hash
from odeploy_train.runs.rollouts import Rollouts, fresh_seed
from odeploy_train.runs.train_run import train_run

LABEL_ROWS = 4096  # rows per pass of the teacher, draws included: a bound of the memory only


@dataclass(frozen=True)
class Config:
    """Distil a flow-matching teacher into an MLP student.

    The same command continues an interrupted run.
    """

    teacher: Path
    """Run folder of a finished `odeploy train fm-bc`."""
    demos: str
    """Dataset folder, or Minari id, of the teacher's task."""
    out: Path
    """Run folder: new, or of an interrupted run."""
    steps: int = 6_000
    """Gradient steps."""
    batch: int = 256
    """Rows per gradient step."""
    lr: float = 1e-3
    """Peak learning rate; falls to 0 along half a cosine."""
    width: int = 256
    """Neurons per hidden layer."""
    depth: int = 2
    """Hidden layers."""
    draws: int = 4
    """Samples n of the teacher per label, averaged."""
    teacher_steps: int = 10
    """Euler steps K of the teacher."""
    rounds: int = 5
    """Rounds, spread evenly over the training, that add observations visited by the student; 0 for none."""
    episodes: int = 20
    """Episodes per round."""
    seed: int = 0
    """Seed of all random numbers."""
    threads: int = 1
    """Threads of torch; see `train fm-bc --help`."""
    score_episodes: int = 20
    """Episodes of a first score at the end; 0 for none."""
    task: str | None = None
    """Task of the teacher, if it is not catalogued: file.py:NAME, file.toml, gym:ID or module:NAME."""


def main(arguments: list[str]) -> None:
    """Distil, or continue, and print the run folder and a score."""
    config = tyro.cli(Config, args=arguments, prog="odeploy train distill")
    _check(config)
    teacher, card = _load_teacher(config.teacher)
    task = named(card.stored_task(str(config.teacher)), config.task)
    demonstrations = load(config.demos, task)
    observations = torch.from_numpy(demonstrations.observations)
    sizes = StudentConfig(len(task.observation), len(task.action), config.width, config.depth)

    @contextmanager
    def training() -> Iterator[Cloning]:
        student, state = start(config, sizes, task, observations)
        with closing(Rollouts(task)) as rollouts:
            yield Cloning(
                config,
                state,
                lambda: Imitation(config, teacher, student, state, observations, rollouts).loss,
                lambda episodes: rollouts.play(student, fresh_seed(state.generator), episodes).score(task),
            )

    source = card.provenance | {"weights_hash": weights_hash(teacher)}
    train_run("distill", config, task, sizes, training, data_hash=demonstrations.data_hash, teacher=source)


def start(config: Config, sizes: StudentConfig, task: Task, observations: Tensor) -> tuple[StudentPolicy, State]:
    """Make an untrained student with normaliser and bounds, and its training state."""
    generator = torch.Generator().manual_seed(config.seed)
    student = StudentPolicy(sizes)
    initialise(student.net, generator)
    student.fit(observations, task.action)
    optimizer = torch.optim.Adam(student.net.parameters(), lr=config.lr, fused=True)
    return student, State(student, optimizer, generator)


@dataclass
class Imitation:
    """The student's objective, over a growing set of labelled observations.

    The set is stored in `state.gathered`, hence in the checkpoint: labels are never drawn twice.
    """

    config: Config
    teacher: FlowPolicy
    student: StudentPolicy
    state: State
    demonstrated: Tensor
    rollouts: Rollouts
    boundaries: frozenset[int] = field(init=False)

    def __post_init__(self) -> None:
        parts = self.config.rounds + 1
        self.boundaries = frozenset(self.config.steps * part // parts for part in range(1, parts))

    def loss(self) -> Tensor:
        """Return the loss of a fresh minibatch, after the round that is due at this step."""
        gathered, generator = self.state.gathered, self.state.generator
        if not gathered:
            self._add(self.demonstrated)
        elif self.state.step in self.boundaries:
            played = self.rollouts.play(self.student, fresh_seed(generator), self.config.episodes)
            self._add(played.observations)
        rows = torch.randint(len(gathered["observations"]), (self.config.batch,), generator=generator)
        answer = self.student.net(self.student.normalise(gathered["observations"][rows]))
        target = self.student.to_unit(gathered["labels"][rows])
        error: Tensor = answer - target
        return error.square().mean()

    def label(self, observations: Tensor) -> Tensor:
        """Return the mean of the teacher's samples, in robot units.

        Shapes (M, O) -> (M, A).
        """
        t_grid, draws = uniform_grid(self.config.teacher_steps), self.config.draws
        labels = []
        with torch.no_grad():
            for rows in torch.split(observations, max(1, LABEL_ROWS // draws)):
                repeated = rows.repeat(draws, 1)
                size = len(repeated), self.teacher.action_mean.numel()
                noise = torch.randn(size, generator=self.state.generator)
                actions = self.teacher.sample(repeated, noise, EULER, t_grid)
                labels.append(actions.view(draws, len(rows), -1).mean(dim=0))
        return torch.cat(labels)

    def _add(self, observations: Tensor) -> None:
        new = {"observations": observations, "labels": self.label(observations)}
        for name, values in new.items():
            old = self.state.gathered.get(name)
            self.state.gathered[name] = values if old is None else torch.cat([old, values])


def _load_teacher(folder: Path) -> tuple[FlowPolicy, RunCard]:
    policy, card = load_policy(folder)
    if not isinstance(policy, FlowPolicy) or policy.config.horizon > 1:
        raise ContractError(
            where=f"--teacher {folder}",
            expected="a flow with one action per observation",
            got=f"a policy of kind {card.kind}, by {card.method}"
            + (f", of {policy.config.horizon} actions" if isinstance(policy, FlowPolicy) else ""),
            remedy="give the folder of an `odeploy train fm-bc` run",
        )
    return policy, card


def _check(config: Config) -> None:
    require_positive(
        steps=config.steps,
        batch=config.batch,
        lr=config.lr,
        width=config.width,
        depth=config.depth,
        draws=config.draws,
        teacher_steps=config.teacher_steps,
        episodes=config.episodes,
        threads=config.threads,
    )
    if not 0 <= config.rounds < config.steps:
        raise UsageError(
            where="--rounds",
            expected=f"0 or more, and fewer than the {config.steps} steps",
            got=str(config.rounds),
            remedy="change it",
        )
