"""The run folder: `config.json` (the card), `checkpoint.pt`, TensorBoard's curves.

The same command in the same folder continues a run. A different training never overwrites one. Provenance that
goes into policy files contains no paths of this machine: data and teacher are identified by hash.
"""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol

from odeploy_runtime.atomic_file import write_whole
from odeploy_runtime.errors import ContractError, FormatError, MissingError, UsageError
from odeploy_runtime.realtime.machine import git_revision
from odeploy_runtime.regular_file import TEXT_BYTES, read_regular
from odeploy_runtime.typed_json import encode, from_json, to_json
from odeploy_sim.own_tasks.named import StoredTask
from odeploy_train.policies.kinds import KINDS, Kind, Policy, PolicyConfig, build, kind_of, sizes
from odeploy_train.runs import checkpoint
from odeploy_train.runs.algorithm_version import algorithm_version
from odeploy_train.runs.provenance import versions

CARD = "config.json"
# Options that do not change what is trained: a continuation may differ in them.
ASIDE = ("out", "demos", "teacher", "threads", "workers", "score_every", "score_episodes")


Method = Literal[
    "fm-bc",
    "bc",
    "gru-bc",
    "dp",
    "distill",
    "ppo",
    "fpo",
    "fpo++",
    "dppo",
    "fm-ppo",
    "fm-a2c",
    "gail",
    "airl",
    "wail",
    "vail",
    "drail",
    "fm-irl",
    "fmer",
    "sac",
    "qvpo",
    "dipo",
    "dpmd",
]


class Options(Protocol):
    """Options that every verb has. The config is a dataclass."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def out(self) -> Path:
        """The run folder."""

    @property
    def steps(self) -> int:
        """Length: gradient steps with demonstrations, else environment steps."""

    @property
    def lr(self) -> float:
        """Peak learning rate."""

    @property
    def seed(self) -> int:
        """Seed of all random numbers."""


@dataclass(frozen=True)
class RunCard:
    """Description of a run, as stored in `config.json`.

    Attributes:
        method: name of the verb.
        kind: type of the policy. `flow` integrates an ODE, `best-of-n` several, `diffusion` denoises: these
            need noise. `student` and `mlp` are one pass, `recurrent` is one pass with a state.
        task: name of the task.
        data_hash: hash of the demonstrations; None without demonstrations.
        demos: their place: an absolute path of this machine, or a Minari id.
        seed: seed of all random numbers.
        steps: length of the training, in gradient or environment steps.
        config: all options of the verb that affect the result.
        policy: sizes of the policy; the table in `policies.kinds` has their class.
        versions: versions of Python and of packages at the start.
        git: revision of odeploy's checkout, with `-dirty` if changed; None without a checkout.
        teacher: provenance of the teacher, and the hash of its weights.
        version: version of the method's training.
        task_digest: digest of the task's signals, limits, rate and horizon; empty in older runs.
    """

    method: Method
    kind: Kind
    task: str
    data_hash: str | None
    demos: str | None
    seed: int
    steps: int
    config: dict[str, Any]
    policy: dict[str, Any]
    versions: dict[str, str]
    git: str | None
    teacher: dict[str, Any] | None = None
    version: int = 1
    task_digest: str = ""

    @property
    def provenance(self) -> dict[str, Any]:
        """JSON for a policy file: the card without the path in it."""
        fields = (field.name for field in dataclasses.fields(self) if field.name != "demos")
        return {name: encode(getattr(self, name)) for name in fields}

    def stored_task(self, where: str) -> StoredTask:
        """Return what the run stores of its task, of a run at `where`."""
        return StoredTask(where, self.task, self.task_digest)

    def identity(self) -> dict[str, Any]:
        """Return what a continuation must share; versions and revision may differ."""
        shared = {"method": self.method, "task": self.task, "data_hash": self.data_hash}
        shared |= {"task_digest": self.task_digest}
        options = {f"--{name.replace('_', '-')}": value for name, value in self.config.items()}
        teacher = None if self.teacher is None else self.teacher["weights_hash"]
        # A size that this kind did not have when the run began takes its default.
        policy = encode(sizes(self.kind, self.policy, CARD))
        return {**shared, **options, "policy": policy, "teacher": teacher}


def new_card(
    method: Method,
    task: str,
    data_hash: str | None,
    config: Options,
    policy: PolicyConfig,
    teacher: dict[str, Any] | None = None,
    task_digest: str = "",
) -> RunCard:
    """Make the card of a new run, without the options that a continuation may change."""
    options = {f.name: encode(getattr(config, f.name)) for f in dataclasses.fields(config)}
    if options.get("task") is not None:
        options["task"] = task  # its name, not the file or the id that a command line names it by
    demos: str | None = getattr(config, "demos", None)
    return RunCard(
        method=method,
        kind=kind_of(policy),
        task=task,
        data_hash=data_hash,
        demos=str(Path(demos).resolve()) if demos is not None and Path(demos).exists() else demos,
        seed=config.seed,
        steps=config.steps,
        config={name: value for name, value in options.items() if name not in ASIDE},
        policy=encode(policy),
        versions=versions(),
        git=git_revision(),
        teacher=teacher,
        version=algorithm_version(method),
        task_digest=task_digest,
    )


def begin(folder: Path, card: RunCard) -> None:
    """Create the folder of a new run, or check that it holds this run.

    Raises:
        UsageError: the folder holds another run, or other files, or cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        found = [path.name for path in folder.iterdir() if not path.name.startswith(".")]
        if not found:
            write_whole(folder / CARD, to_json(card).encode())
            return
    except OSError as error:
        raise UsageError(
            where=f"--out {folder}",
            expected="a folder that can be written",
            got=error.strerror or type(error).__name__,
            remedy="choose another folder",
        ) from None
    if CARD not in found:
        raise UsageError(
            where=f"--out {folder}",
            expected="a new folder, or that of a run to continue",
            got=f"a folder with other files, such as {min(found)}",
            remedy="choose another folder",
        )
    there = read_card(folder)
    if not there.task_digest:  # a run from before there were digests
        there = dataclasses.replace(there, task_digest=card.task_digest)
    before, now = there.identity(), card.identity()
    for name in before | now:
        if before.get(name) != now.get(name):
            raise UsageError(
                where=f"--out {folder}, {name}",
                expected=f"{before.get(name)!r} as in the run that is there",
                got=repr(now.get(name)),
                remedy="choose another folder, or repeat that run's command to continue it",
            )


def read_card(folder: Path) -> RunCard:
    """Read `config.json`.

    Raises:
        MissingError: not a run folder.
        FormatError: the file is damaged.
    """
    path = folder / CARD
    try:
        text = read_regular(path, TEXT_BYTES)
    except OSError as error:
        raise MissingError(
            where=str(path),
            expected="the card of a training run",
            got=error.strerror or type(error).__name__,
            remedy="give a folder that `odeploy train` printed",
        ) from None
    try:
        return from_json(RunCard, text, str(path))
    except FormatError as error:
        raise FormatError(
            where=error.where, expected=error.expected, got=error.got, remedy="train into another folder"
        ) from None


def load_policy(folder: Path, *, last: bool = False) -> tuple[Policy, RunCard]:
    """Load the trained policy of a finished run, in evaluation mode, and its card.

    Critics in the checkpoint come with the policy, as its kind's `with_critics`.

    Args:
        folder: the run folder.
        last: the last policy of a run that keeps the best one.

    Raises:
        MissingError: not a run folder, or nothing saved in it yet, or no last policy beside the kept one.
        FormatError: card or checkpoint is damaged, or they do not match.
        ContractError: the training has not finished.
    """
    card, state = read_card(folder), checkpoint.load(folder)
    if state is None:
        raise MissingError(
            where=str(folder / checkpoint.CHECKPOINT),
            expected="a checkpoint",
            got="no such file",
            remedy="repeat the command that began this run",
        )
    if state["step"] < card.steps and not state.get("finished"):  # --minutes may end a run before --steps does
        raise ContractError(
            where=str(folder),
            expected=f"a finished run of {card.steps} steps",
            got=f"one interrupted at step {state['step']}",
            remedy="repeat the command that began it: it continues",
        )
    policy = build(card.kind, card.policy, str(folder / CARD))
    checkpoint.restore(policy, _last(folder, state) if last else state["policy"], folder)
    critics = state.get("modules", {}).get("critics")
    with_critics = KINDS[card.kind].with_critics
    if with_critics is not None and critics is not None:
        best_of = with_critics(policy, card.config["critic_widths"], card.config.get("critic_norm", False))
        weights = {name.removeprefix("both."): weight for name, weight in critics.items()}
        checkpoint.restore(best_of.critics, weights, folder)
        return best_of.eval(), card
    return policy.eval(), card


def _last(folder: Path, state: dict[str, Any]) -> dict[str, Any]:
    weights: dict[str, Any] | None = state.get(checkpoint.LAST)
    if weights is None:
        raise MissingError(
            where=str(folder / checkpoint.CHECKPOINT),
            expected="the last policy beside the best one",
            got="one policy",
            remedy="leave --last out; runs with --keep best have two",
        )
    return weights
