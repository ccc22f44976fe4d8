"""Facts that ONNX metadata or a side file state about a robot.

Values are JSON or, as mjlab writes them, numbers or words between commas. A side file is YAML or JSON: the same
keys, or Unitree's `deploy.yaml`, whose actions and observations are tables.
"""

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

import yaml

from odeploy_export.contract.keys import FACTS
from odeploy_runtime.errors import ContractError, FormatError, first_line
from odeploy_runtime.regular_file import TEXT_BYTES, read_regular

_LONGEST = 400  # characters of an unknown value that the provenance keeps; of longer ones it keeps the hash


@dataclass(frozen=True)
class Stated:
    """Facts by name, each with the key that states it.

    Attributes:
        facts: fact of `keys.KEYS` -> value.
        sources: fact -> file and key, for messages and the manifest.
        unknown: other keys, for the provenance.
        where: for messages.
    """

    facts: Mapping[str, Any] = field(default_factory=dict)
    sources: Mapping[str, str] = field(default_factory=dict)
    unknown: Mapping[str, Any] = field(default_factory=dict)
    where: str = ""

    def __bool__(self) -> bool:
        return bool(self.facts)

    def source(self, *facts: str) -> str:
        """Return the keys that state some facts, for messages and the manifest."""
        return ", ".join(self.sources[fact] for fact in facts if fact in self.sources)

    def joined(self, other: "Stated") -> "Stated":
        """Return the facts of both files.

        Raises:
            ContractError: they contradict each other.
        """
        for fact in self.facts.keys() & other.facts.keys():
            if self.facts[fact] != other.facts[fact]:
                raise ContractError(
                    where=f"{other.where}, {other.sources[fact]}",
                    expected=f"what {self.sources[fact]} of {self.where} states",
                    got="something else",
                    remedy="remove the key from one of the files",
                )
        return Stated(
            {**self.facts, **other.facts},
            {**self.sources, **other.sources},
            {**self.unknown, **other.unknown},
            self.where,
        )


def from_metadata(values: Mapping[str, str], where: str) -> Stated:
    """Read the metadata of an ONNX file."""
    return _stated({key: _value(text) for key, text in values.items()}, "metadata key", where)


def from_side_file(path: Path) -> Stated:
    """Read a YAML or JSON file with known keys, or Unitree's `deploy.yaml`.

    Raises:
        FormatError: not a table.
        ContractError: joints by number.
    """
    try:
        table = yaml.safe_load(read_regular(path, TEXT_BYTES))  # JSON is YAML
        if not isinstance(table, dict):
            raise ValueError(f"a {type(table).__name__}")
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise FormatError(
            where=f"--contract {path}",
            expected="a table of keys in YAML or JSON",
            got=first_line(error),
            remedy="give the file that the training library wrote beside the policy",
        ) from None
    return _stated(_flat(table, path), f"key of {path.name}", str(path))


def _stated(values: Mapping[str, Any], kind: str, where: str) -> Stated:
    known = {key: FACTS[key.lower()] for key in values if key.lower() in FACTS and values[key] is not None}
    facts, sources = dict[str, Any](), dict[str, str]()
    for key, fact in known.items():
        if fact in facts and facts[fact] != values[key]:
            raise ContractError(
                where=f"{where}, {kind} {key}",
                expected=f"what {sources[fact]} states",
                got="something else",
                remedy="remove one of the keys",
            )
        facts[fact], sources[fact] = values[key], f"{kind} {key}"
    unknown = {key: _kept(value) for key, value in values.items() if key not in known}
    return Stated(facts, sources, unknown, where)


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        pass
    if "," not in text:
        return _number(text)
    return [
        [_number(part) for part in entry.split(";")] if ";" in entry else _number(entry)
        for entry in text.split(",")
    ]


def _number(text: str) -> Any:
    try:
        return float(text)
    except ValueError:
        return text.strip()


def _kept(value: Any) -> Any:
    """Return an unknown value without paths, or its hash if it is long."""
    text = value if isinstance(value, str) else json.dumps(value, default=str)
    if len(text) > _LONGEST:
        return f"{len(text)} characters, SHA-256 {hashlib.sha256(text.encode()).hexdigest()}"
    if isinstance(value, str) and value.startswith(("/", "~", "\\")):
        return PurePosixPath(value).name
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _flat(table: dict[str, Any], path: Path) -> dict[str, Any]:
    """Return the keys of a table; those inside Unitree's tables by their common names."""
    flat = dict(table)
    actions, observations = flat.pop("actions", None), flat.pop("observations", None)
    if isinstance(actions, dict):
        if len(actions) != 1:
            raise _unreadable(path, "one action term", f"{len(actions)}: {', '.join(actions)}")
        ((_, action),) = actions.items()
        flat["action_scale"] = action.get("scale")
        if action.get("offset") is not None and "default_joint_pos" not in flat:
            flat["default_joint_pos"] = action["offset"]
        if action.get("clip") is not None:
            raise _unreadable(path, "actions without clip", "a clip of its own")
    if isinstance(observations, dict):
        terms = {name: term or {} for name, term in observations.items()}
        flat["observation_names"] = list(terms)
        flat["observation_terms_scale"] = [1.0 if (s := t.get("scale")) is None else s for t in terms.values()]
        flat["observation_terms_history_length"] = [t.get("history_length") or 1 for t in terms.values()]
        flat["observation_terms_clip"] = [t.get("clip") for t in terms.values()]
    commands = flat.pop("commands", None)
    if isinstance(commands, dict):
        ranges = [
            c["ranges"] for c in commands.values() if isinstance(c, dict) and isinstance(c.get("ranges"), dict)
        ]
        flat["command_ranges"] = {name: limits for r in ranges for name, limits in r.items()}
    numbers, names = flat.pop("joint_ids_map", None), flat.pop("joint_sdk_names", None)
    if numbers is not None and "joint_names" not in flat:
        if names is None:
            raise _unreadable(path, "joint_names, or joint_sdk_names beside joint_ids_map", "joints by number")
        flat["joint_names"] = [names[int(number)] for number in numbers]
    return flat


def _unreadable(path: Path, expected: str, got: str) -> ContractError:
    return ContractError(
        where=f"--contract {path}",
        expected=expected,
        got=got,
        remedy="add the names to the file, in the SDK's order"
        if "names" in expected
        else "write a recipe and give --recipe",
    )
