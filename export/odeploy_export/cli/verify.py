"""The parity check of an existing policy file against its training run.

    python -m odeploy_export.cli.verify FILE --run RUN

`odeploy verify FILE --run RUN` starts this program if torch is installed, since the runtime does not import torch.
"""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import onnx
import tyro

from odeploy_export.kinds.check import check_parity
from odeploy_export.kinds.table import deployed_as
from odeploy_export.parity.deviation import TOLERANCE, allowed_actions
from odeploy_export.parity.diagnosis import not_finite_weights
from odeploy_export.parity.rows import check_rows
from odeploy_export.sources.runs import policy_of
from odeploy_runtime.errors import OdeployError, PolicyFileError
from odeploy_runtime.inference.onnx_policy import open_session
from odeploy_runtime.policy_file.file import read
from odeploy_runtime.reports.terminal import Terminal


@dataclass(frozen=True)
class Config:
    """Compare a policy file with its training run."""

    file: Annotated[Path, tyro.conf.Positional]
    """A policy file."""
    run: Path
    """Folder of the training run."""
    provider: str = "cpu"
    """Execution provider: `cpu`, `cuda`, `tensorrt` or `openvino`."""


def main() -> None:
    """Print the largest error, or fail with the worst row and the fault, if known."""
    config = tyro.cli(Config, prog="python -m odeploy_export.cli.verify")
    file = read(config.file)
    manifest = file.manifest
    policy = policy_of(config.run, manifest)
    broken = not_finite_weights(onnx.load_from_string(file.data))
    if broken:
        raise PolicyFileError(
            where=f"{config.file}, weight {broken[0]}",
            expected="finite numbers",
            got="NaN or infinity" + (f", as in {len(broken) - 1} more" if broken[1:] else ""),
            remedy="export a checkpoint from before the training broke",
        )
    deployment = deployed_as(policy, manifest)
    session = open_session(file.data, config.provider, str(config.file), rows=max(1, manifest.noise.shape[0]))
    recorded = np.array([row.observation for row in manifest.golden], np.float32)
    rows = check_rows(deployment.spread, recorded, manifest.noise)
    known = [p.tolerance for p in manifest.parity if p.provider == session.get_providers()[0]]
    tolerance = known[0] if known else max((p.tolerance for p in manifest.parity), default=TOLERANCE)
    allowed = allowed_actions(manifest.action, manifest.horizon, str(config.file), tolerance)
    parity = check_parity(session, deployment, rows, manifest.action, allowed)
    Terminal().print(
        f"parity check: {parity.rows} rows at batches {parity.batches}: "
        f"max error {parity.max_error:.2e} (tolerance {parity.tolerance:g})",
        highlight=False,
    )


if __name__ == "__main__":
    try:
        main()
    except OdeployError as error:
        sys.exit(str(error))
