"""The run folder: what a training is (`config.json`), how far it is (`checkpoint.pt`), TensorBoard's curves.

The same command on the same folder continues; another training never overwrites one. Everything that later
travels in a policy file's provenance is free of this machine's paths: data and teacher are named by hash.
"""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol

from odeploy_runtime.atomic_file import write_whole
from odeploy_runtime.errors import ContractError, FormatError, MissingError, UsageError
from odeploy_runtime.typed_json import encode, from_json, to_json
from odeploy_train.policies.best_of_diffusion import BestOfDiffusion
from odeploy_train.policies.diffusion import DiffusionPolicy
from odeploy_train.policies.kinds import Kind, Policy, PolicyConfig, build, kind_of, sizes
from odeploy_train.runs import checkpoint
from odeploy_train.runs.provenance import git_revision, versions

CARD = "config.json"
# Options that say where, on what and how it is shown, not what is trained: two runs may differ in them.
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
    """What the config of every verb has. A dataclass."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def out(self) -> Path:
        """The run folder."""

    @property
    def steps(self) -> int:
        """How long: of the gradient, or of the environment where there are no demonstrations."""

    @property
    def lr(self) -> float:
        """Peak learning rate."""

    @property
    def seed(self) -> int:
        """Of every random number."""


@dataclass(frozen=True)
class RunCard:
    """What a run is, as `config.json` holds it.

    Attributes:
        method: the verb.
        kind: of policy: `flow` integrates an ODE, `best-of-n` several times, `diffusion` denoises, all want noise;
            `student` and `mlp` are one pass, `recurrent` is one that goes on from the last.
        task: catalogued name.
        data_hash: of the demonstrations; None where reward alone teaches.
        demos: where they lay: an absolute path of this machine, or a Minari id.
        seed: the one that all random numbers come from.
        steps: of the whole training: of the gradient, or of the environment.
        config: every option of the verb that decides the result.
        policy: `FlowConfig`, `BestOfNConfig`, `DiffusionConfig`, `StudentConfig`, `RecurrentConfig` or
            `MlpConfig`, by `kind`.
        versions: of Python and the packages at the start.
        git: revision of odeploy's checkout, with `-dirty` if changed; None outside of one.
        teacher: provenance of what was distilled, and the hash of its weights.
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

    @property
    def provenance(self) -> dict[str, Any]:
        """JSON for a policy file: all of the card but the one path in it."""
        fields = (field.name for field in dataclasses.fields(self) if field.name != "demos")
        return {name: encode(getattr(self, name)) for name in fields}

    def identity(self) -> dict[str, Any]:
        """What two runs must share for one to continue the other: not versions, not the revision."""
        shared = {"method": self.method, "task": self.task, "data_hash": self.data_hash}
        options = {f"--{name.replace('_', '-')}": value for name, value in self.config.items()}
        teacher = None if self.teacher is None else self.teacher["weights_hash"]
        # A size that this kind of policy did not have yet when the run began has its default.
        policy = encode(sizes(self.kind, self.policy, CARD))
        return {**shared, **options, "policy": policy, "teacher": teacher}


def new_card(
    method: Method,
    task: str,
    data_hash: str | None,
    config: Options,
    policy: PolicyConfig,
    teacher: dict[str, Any] | None = None,
) -> RunCard:
    """The card of a run that begins now, with a verb's options less those that stand aside."""
    options = {f.name: encode(getattr(config, f.name)) for f in dataclasses.fields(config)}
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
    )


def begin(folder: Path, card: RunCard) -> None:
    """Makes the folder a run of `card`, or checks that it is one already.

    Raises:
        UsageError: the folder holds another run, or other files, or cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        strangers = [path.name for path in folder.iterdir() if not path.name.startswith(".")]
        if not strangers:
            write_whole(folder / CARD, to_json(card).encode())
            return
    except OSError as error:
        raise UsageError(
            where=f"--out {folder}",
            expected="a folder that can be written",
            got=error.strerror or type(error).__name__,
            remedy="choose another folder",
        ) from None
    if CARD not in strangers:
        raise UsageError(
            where=f"--out {folder}",
            expected="a new folder, or that of a run to continue",
            got=f"a folder with other files, such as {min(strangers)}",
            remedy="choose another folder",
        )
    before, now = read_card(folder).identity(), card.identity()
    for name in before | now:
        if before.get(name) != now.get(name):
            raise UsageError(
                where=f"--out {folder}, {name}",
                expected=f"{before.get(name)!r} as in the run that is there",
                got=repr(now.get(name)),
                remedy="choose another folder, or repeat that run's command to continue it",
            )


def read_card(folder: Path) -> RunCard:
    """Reads `config.json`.

    Raises:
        MissingError: not a run folder.
        FormatError: the file is damaged.
    """
    path = folder / CARD
    try:
        text = path.read_bytes()
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


def load_policy(folder: Path) -> tuple[Policy, RunCard]:
    """Load the trained policy of a finished run, in evaluation mode, and its card.

    A diffusion policy that was taught by critics comes with these critics, as a `BestOfDiffusion`.

    Raises:
        MissingError: not a run folder, or nothing saved in it yet.
        FormatError: card or checkpoint are damaged, or do not fit each other.
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
    if state["step"] < card.steps and not state.get("finished"):  # minutes may end a run before its steps do
        raise ContractError(
            where=str(folder),
            expected=f"a finished run of {card.steps} steps",
            got=f"one interrupted at step {state['step']}",
            remedy="repeat the command that began it: it continues",
        )
    policy = build(card.kind, card.policy, str(folder / CARD))
    checkpoint.restore(policy, state["policy"], folder)
    critics = state.get("modules", {}).get("critics")
    if isinstance(policy, DiffusionPolicy) and critics is not None:
        policy = BestOfDiffusion(policy, card.config["critic_widths"])
        weights = {name.removeprefix("both."): weight for name, weight in critics.items()}
        checkpoint.restore(policy.critics, weights, folder)
    return policy.eval(), card
