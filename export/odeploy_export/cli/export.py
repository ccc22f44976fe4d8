"""`odeploy export`: one policy file, if torch and ONNX agree."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import torch
import tyro
from rich.console import Console

from odeploy_export.cli.external import ExternalOptions, external_source
from odeploy_export.options import ParityOptions, SamplerOptions, refuse_given
from odeploy_export.parity.closed_loop import ClosedLoop
from odeploy_export.pipeline import CLOSED_LOOP, export_policy
from odeploy_export.sources.runs import from_run, from_sb3
from odeploy_export.sources.source import Source
from odeploy_export.toml_files import actuation_for
from odeploy_runtime.errors import UsageError
from odeploy_runtime.reports.terminal import Terminal
from odeploy_runtime.typed_json import decode
from odeploy_sim.own_tasks.reference import resolve

SourceName = Literal["run", "sb3", "module", "torchscript", "onnx"]

_OPAQUE: tuple[SourceName, ...] = ("module", "torchscript", "onnx")
_OTHERS: tuple[SourceName, ...] = ("sb3", *_OPAQUE)
_ONLY: dict[str, tuple[SourceName, ...]] = {
    "weights": ("module",),
    "noise_size": ("module", "torchscript"),
    "normaliser": ("sb3",),
    "observation_order": ("sb3",),
    "actions": _OTHERS,
    "squash": _OPAQUE,
    "recipe": _OPAQUE,
    "contract": _OPAQUE,
    "solver": ("run",),
    "steps": ("run",),
    "t_grid": ("run",),
    "candidates": ("run",),
    "noise": ("run", *_OPAQUE),
    "inputs": ("onnx",),
    "noise_input": ("onnx",),
    "output": ("module", "onnx"),
    "frozen": ("run",),
    "last": ("run",),
}
"""Option -> sources that have it."""


@dataclass(frozen=True)
class Config(ParityOptions, SamplerOptions, ExternalOptions):
    """Export a trained policy as one ONNX policy file, if torch and ONNX agree."""

    trained: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="RUN|MODEL")]
    """Folder of a training run. With `--from sb3` the zip that model.save wrote, with `torchscript` and `onnx` the
    file, with `module` path.py:Class, or path.py:function that returns a module."""
    out: Path
    """Policy file to write."""
    source: Annotated[SourceName, tyro.conf.arg(name="from")] = "run"
    """Source of the policy: `run` is a run of odeploy, `sb3` is stable-baselines3 or sb3-contrib. The others take
    any policy of raw observations (B, O) to actions (B, A) or (B, H, A): a torch `module`, whose Python file is
    executed; a `torchscript` archive, whose program is executed; an `onnx` file."""
    task: str | None = None
    """Task: a catalogued name, file.py:NAME, file.toml, gym:ID or module:NAME. A run names a
    catalogued one itself."""
    normaliser: Annotated[Path | None, tyro.conf.arg(metavar="FILE|none")] = None
    """VecNormalize of an sb3 model, as normaliser.npz or pickled, or `none` for a training without one; if not
    given the one beside the model."""
    name: str | None = None
    """Name of the policy; if not given the run's folder, or task and algorithm or file of a model."""
    frozen: int | None = None
    """Number d of frozen actions, for real-time chunking of a flow with action chunks: a new chunk continues the
    previous one and keeps its next d actions, which are executed during inference; for `sim --ahead`."""
    last: bool = False
    """Export the last policy of a run that keeps the best one."""
    sign: Path | None = None
    """Secret key to sign the file with, made by `odeploy keys NAME --sign`."""


def main(arguments: list[str]) -> None:
    """Export, check and write; print the results of the parity check."""
    config, console = tyro.cli(Config, args=arguments, prog="odeploy export"), Terminal()
    if config.closed_loop:
        torch.set_num_threads(1)  # several spin at their barriers: beside a busy process 30 times as slow
    with _log_on(console):
        source = read_source(config)
        actuation = source.actuation or actuation_for(source.task, config.actuation)
        manifest = export_policy(
            source,
            config.out,
            config,
            config,
            name=config.name,
            frozen=config.frozen,
            actuation=actuation,
            sign=config.sign,
        )
    for parity in manifest.parity:
        _print(
            console,
            f"parity: {parity.rows} rows at batches {parity.batches}: max error {parity.max_error:.2e} "
            f"(tolerance {parity.tolerance:g}), {parity.provider}"
            + (f"; {parity.ties} ties between candidates" if parity.ties else ""),
        )
    if CLOSED_LOOP in manifest.provenance:
        _print(console, f"closed loop: {decode(ClosedLoop, manifest.provenance[CLOSED_LOOP], CLOSED_LOOP)}")
    console.print(f"policy: {config.out} ({config.out.stat().st_size:,} bytes)", soft_wrap=True)


def read_source(config: Config) -> Source:
    """Read the policy.

    Raises:
        UsageError: an option that the source does not have, or a missing one.
    """
    for option, sources in _ONLY.items():
        if config.source not in sources:
            expected = (
                f"--from {', '.join(sources[:-1])} or {sources[-1]}" if sources[1:] else f"--from {sources[0]}"
            )
            refuse_given(config, (option,), expected, f"--from {config.source}")
    if config.source == "run":
        return from_run(config.trained, config.demos, config.task, last=config.last)
    if config.task is None:
        raise UsageError(
            where=f"--from {config.source}",
            expected="--task, which the model does not name",
            got="none",
            remedy="give a name that `odeploy tasks` lists",
        )
    task = resolve(config.task)
    if config.source == "sb3":
        return from_sb3(config.trained, task, config.normaliser, config.demos, config)
    if config.noise_size is None and config.noise_input is None:
        refuse_given(config, ("noise",), "--noise-size or --noise-input too", "a model without noise")
    refuse_given(config, ("closed_loop",), "--from run or sb3", f"--from {config.source}")
    return external_source(config.source, config.trained, config, task)


class _Lines(logging.Handler):
    """Log messages as plain lines on a console."""

    def __init__(self, console: Console) -> None:
        super().__init__(logging.INFO)
        self._console = console

    def emit(self, record: logging.LogRecord) -> None:
        _print(self._console, record.getMessage())


@contextmanager
def _log_on(console: Console) -> Iterator[None]:
    """Print what the export logs."""
    log, handler = logging.getLogger("odeploy_export"), _Lines(console)
    level = log.level
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    try:
        yield
    finally:
        log.removeHandler(handler)
        log.setLevel(level)


def _print(console: Console, line: str) -> None:
    console.print(line, highlight=False, soft_wrap=True)
