"""Holds an existing policy file against the training run that it came from: the full parity gate.

    python -m odeploy_export.cli.verify FILE --run RUN

`odeploy verify FILE --run RUN` starts this program where torch is installed; the runtime itself knows no torch.
"""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import onnx
import tyro
from rich.console import Console

from odeploy_export.parity.deviation import TOLERANCE
from odeploy_export.parity.diagnosis import explained, not_finite_weights
from odeploy_export.parity.gate import gate_rows, held, measure
from odeploy_runtime.errors import ContractError, OdeployError, ParityError, PolicyFileError
from odeploy_runtime.inference.onnx_policy import open_session
from odeploy_runtime.policy_file.file import read
from odeploy_train.runs.folder import load_policy


@dataclass(frozen=True)
class Config:
    """Holds a policy file against the training run that it came from."""

    file: Annotated[Path, tyro.conf.Positional]
    """A policy file."""
    run: Path
    """The training run's folder."""
    provider: str = "cpu"
    """Execution provider: `cpu`, `cuda`, `tensorrt` or `openvino`."""


def main() -> None:
    """Prints one line with the largest error, or fails with the worst row, and the fault if it is a known one."""
    config = tyro.cli(Config, prog="python -m odeploy_export.cli.verify")
    file = read(config.file)
    manifest = file.manifest
    trained, card = load_policy(config.run)
    policy = held(trained, manifest.noise.shape[0])
    if card.method != manifest.method:
        raise ContractError(
            where=str(config.run),
            expected=f"a run of {manifest.method}",
            got=card.method,
            remedy="give the run that the file was exported from",
        )
    broken = not_finite_weights(onnx.load_from_string(file.data))
    if broken:
        raise PolicyFileError(
            where=f"{config.file}, weight {broken[0]}",
            expected="finite numbers",
            got="NaN or infinity" + (f", as in {len(broken) - 1} more" if broken[1:] else ""),
            remedy="export a checkpoint from before the training broke",
        )
    session = open_session(file.data, config.provider, str(config.file), rows=max(1, manifest.noise.shape[0]))
    recorded = np.array([row.observation for row in manifest.golden], np.float32)
    rows = gate_rows(policy, recorded, manifest.noise)
    gated = [p.tolerance for p in manifest.parity if p.provider == session.get_providers()[0]]
    tolerance = gated[0] if gated else max((p.tolerance for p in manifest.parity), default=TOLERANCE)
    try:
        parity = measure(session, policy, manifest.sampler, rows, manifest.action, str(config.file), tolerance)
    except ParityError as error:
        raise explained(error, session, policy, manifest.sampler, rows, manifest.action) from None
    Console().print(
        f"full gate: {parity.rows} rows at batches {parity.batches}: "
        f"max error {parity.max_error:.2e} (tolerance {parity.tolerance:g})",
        highlight=False,
    )


if __name__ == "__main__":
    try:
        main()
    except OdeployError as error:
        sys.exit(str(error))
