"""`odeploy diff A B`: differences in manifest, graph and actions."""

import hashlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import onnx
import tyro
from onnx import numpy_helper
from rich.table import Table

from odeploy_export.parity.check import run_in_batches
from odeploy_export.parity.rows import Rows
from odeploy_runtime.inference.onnx_policy import open_session
from odeploy_runtime.policy_file.file import PolicyFile, read
from odeploy_runtime.policy_file.manifest import Manifest
from odeploy_runtime.reports.tables import wide
from odeploy_runtime.reports.terminal import Terminal
from odeploy_runtime.signals import half_ranges
from odeploy_runtime.typed_json import encode

Line = tuple[str, str, str]  # what, in A, in B


@dataclass(frozen=True)
class Config:
    """Compare two policy files: manifest, graph, actions on golden rows."""

    a: Annotated[Path, tyro.conf.Positional]
    """First policy file."""
    b: Annotated[Path, tyro.conf.Positional]
    """Second policy file."""


def main(arguments: list[str]) -> None:
    """Print the differences."""
    config, console = tyro.cli(Config, args=arguments, prog="odeploy diff"), Terminal()
    a, b = read(config.a), read(config.b)
    if a.data == b.data:
        console.print(f"the files are equal: fingerprint {a.fingerprint}", soft_wrap=True, highlight=False)
        return
    graphs = [onnx.load_from_string(file.data).graph for file in (a, b)]
    for title, lines in (
        ("manifest", manifest_lines(a.manifest, b.manifest)),
        ("graph", graph_lines(*graphs)),
        ("golden rows", behaviour_lines(a, b)),
    ):
        table = Table(title, "A", "B", title_justify="left")
        for line in lines:
            table.add_row(*line)
        wide(console).print(table if lines else f"{title}: equal", highlight=False)


def manifest_lines(a: Manifest, b: Manifest) -> list[Line]:
    """Return the fields that differ, by path."""
    of_a, of_b = (dict(_leaves(encode(m), "$")) for m in (a, b))
    paths = [*of_a, *(path for path in of_b if path not in of_a)]
    return [(p, of_a.get(p, "–"), of_b.get(p, "–")) for p in paths if of_a.get(p) != of_b.get(p)]


def graph_lines(a: onnx.GraphProto, b: onnx.GraphProto) -> list[Line]:
    """Return differences of operators by count and of weights by name.

    If those agree, also differences of the wiring.
    """
    ops_a, ops_b = (Counter(node.op_type for node in graph.node) for graph in (a, b))
    lines = [
        (f"operator {op}", str(ops_a[op]), str(ops_b[op]))
        for op in sorted(ops_a | ops_b)
        if ops_a[op] != ops_b[op]
    ]
    weights_a, weights_b = ({t.name: numpy_helper.to_array(t) for t in g.initializer} for g in (a, b))
    for name in sorted(weights_a | weights_b):
        in_a, in_b = weights_a.get(name), weights_b.get(name)
        if in_a is None or in_b is None or in_a.shape != in_b.shape:
            shape_a, shape_b = ("–" if w is None else str(w.shape) for w in (in_a, in_b))
            lines.append((f"weight {name}", shape_a, shape_b))
        elif in_a.tobytes() != in_b.tobytes():
            difference = np.abs(in_a.astype(np.float64) - in_b.astype(np.float64)).max()
            lines.append((f"weight {name}", str(in_a.shape), f"max difference {difference:.3g}"))
    rewired = [i for i, (x, y) in enumerate(zip(a.node, b.node, strict=False)) if x != y]
    if rewired and ops_a == ops_b and weights_a.keys() == weights_b.keys():
        wired = [
            f"node {rewired[0]}: {n.op_type}({', '.join(n.input)})" for n in (g.node[rewired[0]] for g in (a, b))
        ]
        lines.append((f"wiring of {len(rewired)} nodes", wired[0], wired[1]))
    return lines


def behaviour_lines(a: PolicyFile, b: PolicyFile) -> list[Line]:
    """Return each action's largest difference on golden rows, on unit scale.

    A file gets the row's noise if the shapes agree, otherwise zeros.
    """
    for names in ("observation_names", "action_names"):
        if getattr(a.manifest, names) != getattr(b.manifest, names):
            return [("not comparable", f"other {names.replace('_', ' ')}", "")]
    b_on_a, a_on_b = _errors(b, a.manifest), _errors(a, b.manifest)
    rows = [
        (f"{signal.name}, largest difference", f"{x:.3g} (A on B's rows)", f"{y:.3g} (B on A's rows)")
        for signal, x, y in zip(a.manifest.action, a_on_b, b_on_a, strict=True)
    ]
    tolerance = max((p.tolerance for m in (a.manifest, b.manifest) for p in m.parity), default=0.0)
    return rows if not np.max([a_on_b, b_on_a]) <= tolerance else []


def _errors(file: PolicyFile, rows_of: Manifest) -> list[float]:
    """Return each signal's largest difference, in the first action of golden rows."""
    m, golden = file.manifest, rows_of.golden
    if not golden:
        return [float("nan")] * len(m.action)
    noise = np.zeros((len(golden), *m.noise.shape), np.float32)
    if rows_of.noise.shape == m.noise.shape:
        noise[:] = np.array([row.noise for row in golden], np.float32).reshape(noise.shape)
    observation = np.array([row.observation for row in golden], np.float32)
    wanted = np.array([row.action[: len(m.action)] for row in golden])
    got = run_in_batches(open_session(file.data, "cpu", str(file.path)), Rows(observation, noise), 1)
    errors: list[float] = (
        (np.abs(got[:, : len(m.action)] - wanted) / half_ranges(rows_of.action)).max(axis=0).tolist()
    )
    return errors


def _leaves(value: Any, path: str) -> Iterator[tuple[str, str]]:
    """Yield each part of a JSON value with its path.

    A signal is one part. So are all golden rows.
    """
    if path == "$.golden":
        yield path, f"{len(value)} rows, SHA-256 {hashlib.sha256(str(value).encode()).hexdigest()[:12]}…"
    elif isinstance(value, dict) and {"name", "unit"} <= value.keys():
        yield path, ", ".join(f"{key} {inside}" for key, inside in value.items() if inside is not None)
    elif isinstance(value, dict):
        for key, inside in value.items():
            yield from _leaves(inside, f"{path}.{key}")
    elif isinstance(value, list) and any(isinstance(v, dict) for v in value):
        for i, inside in enumerate(value):
            yield from _leaves(inside, f"{path}[{i}]")
    else:
        yield path, str(value)
