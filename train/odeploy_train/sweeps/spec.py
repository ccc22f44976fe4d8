"""The specification of a sweep: methods × tasks × seeds, in TOML.

    tasks = ["maze-medium"]             # or file.py:NAME, file.toml, gym:ID, module:NAME
    seeds = [0, 1, 2]
    episodes = 100                      # per score, the same for every method
    noise = [1.0]                       # noise levels of the task at which files are scored

    [demos.maze-medium]                 # options of `odeploy collect`, by the task's name
    quality = "noisy:0.5,coverage:0.25"

    [methods.FM-IRL]
    verb = "fm-irl"                     # of `odeploy train`
    options = { steps = 1_000_000 }     # of that verb
    tasks.hopper = { bonus = 20 }       # on this task, in addition; false omits the task
    export = { noise = "zero" }         # of `odeploy export`
    demos = true                        # whether the verb gets the task's demonstrations
    init = "FP"                         # method above whose training is the verb's --init

Lists become several values of one option; true and false become `--option` and `--no-option`.
"""

import dataclasses
import hashlib
import json
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from odeploy_runtime.errors import FormatError, MissingError
from odeploy_runtime.regular_file import TEXT_BYTES, read_regular
from odeploy_runtime.typed_json import decode
from odeploy_sim.catalogue import get, has
from odeploy_sim.own_tasks.reference import resolve
from odeploy_sim.tasks.task import Task
from odeploy_train.runs.algorithm_version import algorithm_version


@dataclass(frozen=True)
class MethodSpec:
    """One row of the table."""

    verb: str
    options: dict[str, Any] = field(default_factory=dict)
    tasks: dict[str, Any] = field(default_factory=dict)
    export: dict[str, Any] = field(default_factory=dict)
    demos: bool = True
    init: str | None = None


@dataclass(frozen=True)
class Spec:
    """Specification of a sweep."""

    tasks: tuple[str, ...]
    seeds: tuple[int, ...]
    methods: dict[str, MethodSpec]
    demos: dict[str, dict[str, Any]] = field(default_factory=dict)
    episodes: int = 100
    noise: tuple[float, ...] = (1.0,)


@dataclass(frozen=True)
class RunSpec:
    """One training, its exported file, and its scores.

    Attributes:
        method: name in the table.
        verb: verb of `odeploy train`.
        task: name of the task.
        seed: seed of the training.
        options: options of the verb.
        export: options of `odeploy export`.
        demos: options of `odeploy collect`; None without demonstrations.
        episodes: episodes per score.
        noise: noise levels of the task to score at.
        init: `training` of the run that this one begins from.
        task_digest: digest of a task that is not catalogued; empty for others.
        reference: how a command line names such a task; None for others.
    """

    method: str
    verb: str
    task: str
    seed: int
    options: dict[str, Any]
    export: dict[str, Any]
    demos: dict[str, Any] | None
    episodes: int
    noise: tuple[float, ...]
    init: str | None = None
    task_digest: str = ""
    reference: str | None = None

    @property
    def argument(self) -> str:
        """Name of the task on a command line."""
        return self.reference or self.task

    @property
    def key(self) -> str:
        """Key of the run and of everything that affects its line."""
        return self._key_of(vars(self).keys() - {"init", "task_digest", "reference"})

    @property
    def version(self) -> int:
        """Version of the verb's training."""
        return algorithm_version(self.verb)

    @property
    def training(self) -> str:
        """Key of the training; runs that differ in export and scores only share one."""
        return self._key_of({"verb", "task", "seed", "options", "demos"})

    @property
    def name(self) -> str:
        """Name for display."""
        return f"{self.task} · {self.method} · seed {self.seed}"

    def _key_of(self, names: set[str]) -> str:
        """Return the key of these fields.

        `init`, `task_digest` and the version belong to it if there are any, or above 1.
        """
        given = {name for name in ("init", "task_digest") if getattr(self, name)}
        keyed = {name: vars(self)[name] for name in names | given}
        return _key(keyed if self.version == 1 else keyed | {"version": self.version})


def read(path: Path) -> Spec:
    """Read a specification.

    Raises:
        MissingError: no such file, or an unknown task.
        FormatError: the file is wrong; names the place.
    """
    try:
        data = tomllib.loads(read_regular(path, TEXT_BYTES).decode())
    except OSError as error:
        raise MissingError(
            where=str(path),
            expected="the specification of a sweep",
            got=error.strerror or type(error).__name__,
            remedy="see docs/results.md for an example",
        ) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise FormatError(where=str(path), expected="TOML", got=str(error), remedy="fix this line") from None
    spec = decode(Spec, data, str(path))
    _check(spec, data, str(path))
    return spec


def runs(spec: Spec) -> list[RunSpec]:
    """Return all runs, by task, then seed, so that a table fills evenly."""
    tasks = {named: _named(named) for named in spec.tasks}

    def run(name: str, named: str, seed: int) -> RunSpec:
        method, (task, own) = spec.methods[name], tasks[named]
        return RunSpec(
            method=name,
            verb=method.verb,
            task=task,
            seed=seed,
            options=method.options | (method.tasks.get(task) or {}),
            export=method.export,
            demos=spec.demos.get(task) if method.demos else None,
            episodes=spec.episodes,
            noise=spec.noise,
            init=None if method.init is None else run(method.init, named, seed).training,
            task_digest="" if own is None else own.digest,
            reference=None if own is None else own.argument,
        )

    return [
        run(name, named, seed)
        for named, (task, _) in tasks.items()
        for seed in spec.seeds
        for name, method in spec.methods.items()
        if method.tasks.get(task) is not False
    ]


def demos_key(task: str, options: dict[str, Any]) -> str:
    """Return the key of a set of demonstrations."""
    return _key([task, options])


def arguments(options: dict[str, Any]) -> list[str]:
    """Return options as command-line arguments."""
    words: list[str] = []
    for name, value in options.items():
        flag = name.replace("_", "-")
        if isinstance(value, bool):
            words.append(f"--{flag}" if value else f"--no-{flag}")
        else:
            words += [f"--{flag}", *(map(str, value) if isinstance(value, list) else [str(value)])]
    return words


def _named(reference: str) -> tuple[str, Task | None]:
    """Return a task's name, and the task itself if it is not catalogued."""
    if has(reference):
        return reference, None
    task = resolve(reference)
    return task.name, task


def _key(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]


def _check(spec: Spec, data: dict[str, Any], where: str) -> None:
    """Check what types cannot: a misspelt word would otherwise be ignored."""
    tables: list[tuple[str, dict[str, Any], type[Spec | MethodSpec]]] = [("", data, Spec)]
    tables += [(f"methods.{name}", data["methods"][name], MethodSpec) for name in spec.methods]
    for path, table, kind in tables:
        known = [field.name for field in dataclasses.fields(kind)]
        unknown = next((word for word in table if word not in known), None)
        if unknown is not None:
            raise FormatError(
                where=f"{where} at {path or 'the top'}",
                expected=f"one of {', '.join(known)}",
                got=unknown,
                remedy="fix this word",
            )
    tasks = [_named(reference)[0] for reference in spec.tasks]
    for task in {*spec.demos, *(task for method in spec.methods.values() for task in method.tasks)}:
        if task not in tasks:
            get(task)
    for name, method in spec.methods.items():
        above = list(spec.methods)[: list(spec.methods).index(name)]
        if method.init is not None and method.init not in above:
            raise FormatError(
                where=f"{where} at methods.{name}.init",
                expected=f"a method above it: {', '.join(above) or 'none'}",
                got=method.init,
                remedy="name one, or move this one below it",
            )
        kept = [task for task in tasks if method.tasks.get(task) is not False]
        parent = {} if method.init is None else spec.methods[method.init].tasks
        missing = next((task for task in kept if parent.get(task) is False), None)
        if missing is not None:
            raise FormatError(
                where=f"{where} at methods.{name}.init",
                expected=f"a method that runs on {missing} too",
                got=f"{method.init}, which is left out there",
                remedy=f"leave {name} out there too, or neither",
            )
    counts = {"tasks": spec.tasks, "seeds": spec.seeds, "methods": spec.methods, "noise": spec.noise}
    empty = next((name for name, values in counts.items() if len(values) == 0), None)
    if empty is not None or spec.episodes < 1:
        raise FormatError(
            where=f"{where} at {empty or 'episodes'}",
            expected="at least one",
            got="none" if empty else str(spec.episodes),
            remedy="add it",
        )
