"""What a sweep is: methods × tasks × seeds, written as TOML.

    tasks = ["maze-medium"]
    seeds = [0, 1, 2]
    episodes = 100                      # of each score, the same ones for every method
    noise = [1.0]                       # the task's levels at which files are scored

    [demos.maze-medium]                 # options of `odeploy collect`, by task
    quality = "noisy:0.5,coverage:0.25"

    [methods.FM-IRL]
    verb = "fm-irl"                     # of `odeploy train`
    options = { steps = 1_000_000 }     # of that verb
    tasks.hopper = { bonus = 20 }       # on that task, on top of them; false leaves the task out
    export = { noise = "zero" }         # of `odeploy export`
    demos = true                        # whether the verb is given the task's demonstrations
    init = "FP"                         # method above whose training the verb's --init is given

Lists become several values of one option, true and false `--option` and `--no-option`.
"""

import dataclasses
import hashlib
import json
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from odeploy_runtime.errors import FormatError, MissingError
from odeploy_runtime.typed_json import decode
from odeploy_sim.catalogue import get


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
    """A whole sweep."""

    tasks: tuple[str, ...]
    seeds: tuple[int, ...]
    methods: dict[str, MethodSpec]
    demos: dict[str, dict[str, Any]] = field(default_factory=dict)
    episodes: int = 100
    noise: tuple[float, ...] = (1.0,)


@dataclass(frozen=True)
class RunSpec:
    """One training, the file made of it, and its scores.

    Attributes:
        method: its name in the table.
        verb: of `odeploy train`.
        task: catalogued name.
        seed: of the training.
        options: of the verb.
        export: of `odeploy export`.
        demos: options of `odeploy collect`; None where reward alone teaches.
        episodes: of each score.
        noise: levels of the task to score at.
        init: `training` of the run that this one begins from.
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

    @property
    def key(self) -> str:
        """Names the run and all that decides its line: what a changed spec changes is another run."""
        return self._key_of(vars(self).keys() - {"init"})

    @property
    def training(self) -> str:
        """Names the training: runs that differ in export and scores alone share one."""
        return self._key_of({"verb", "task", "seed", "options", "demos"})

    @property
    def name(self) -> str:
        """For people."""
        return f"{self.task} · {self.method} · seed {self.seed}"

    def _key_of(self, names: set[str]) -> str:
        """Of those fields, and of `init` where there is one: what began from nothing kept its key."""
        return _key({name: vars(self)[name] for name in (names if self.init is None else names | {"init"})})


def read(path: Path) -> Spec:
    """Reads a spec.

    Raises:
        MissingError: no such file, or an unknown task.
        FormatError: names what is wrong in it, and where.
    """
    try:
        data = tomllib.loads(path.read_text())
    except OSError as error:
        raise MissingError(
            where=str(path),
            expected="a sweep's spec",
            got=error.strerror or type(error).__name__,
            remedy="see docs/results.md for what one looks like",
        ) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise FormatError(where=str(path), expected="TOML", got=str(error), remedy="mend that line") from None
    spec = decode(Spec, data, str(path))
    _check(spec, data, str(path))
    return spec


def runs(spec: Spec) -> list[RunSpec]:
    """All trainings, task after task and seed after seed, so that a table fills evenly."""

    def run(name: str, task: str, seed: int) -> RunSpec:
        method = spec.methods[name]
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
            init=None if method.init is None else run(method.init, task, seed).training,
        )

    return [
        run(name, task, seed)
        for task in spec.tasks
        for seed in spec.seeds
        for name, method in spec.methods.items()
        if method.tasks.get(task) is not False
    ]


def demos_key(task: str, options: dict[str, Any]) -> str:
    """Names a set of demonstrations."""
    return _key([task, options])


def arguments(options: dict[str, Any]) -> list[str]:
    """Options as a command line has them."""
    words: list[str] = []
    for name, value in options.items():
        flag = name.replace("_", "-")
        if isinstance(value, bool):
            words.append(f"--{flag}" if value else f"--no-{flag}")
        else:
            words += [f"--{flag}", *(map(str, value) if isinstance(value, list) else [str(value)])]
    return words


def _key(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]


def _check(spec: Spec, data: dict[str, Any], where: str) -> None:
    """What types cannot say: a misspelt word would otherwise be a default."""
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
                remedy="mend that word",
            )
    mentioned = {*spec.demos, *(task for method in spec.methods.values() for task in method.tasks)}
    for task in (*spec.tasks, *mentioned):
        get(task)
    for name, method in spec.methods.items():
        above = list(spec.methods)[: list(spec.methods).index(name)]
        if method.init is not None and method.init not in above:
            raise FormatError(
                where=f"{where} at methods.{name}.init",
                expected=f"a method above it: {', '.join(above) or 'there is none'}",
                got=method.init,
                remedy="name one, or move this one below it",
            )
        kept = [task for task in spec.tasks if method.tasks.get(task) is not False]
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
