"""Closed loop of an existing policy file and its run, episode by episode.

python -m odeploy_export.cli.closed_loop FILE --run RUN --episodes 10
"""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import torch
import tyro

from odeploy_export.kinds.table import deployed_as
from odeploy_export.parity.closed_loop import compare
from odeploy_export.sources.runs import policy_of
from odeploy_runtime.errors import OdeployError
from odeploy_runtime.inference.onnx_policy import OnnxPolicy
from odeploy_runtime.reports.terminal import Terminal
from odeploy_sim.own_tasks.named import named, of_policy


@dataclass(frozen=True)
class Config:
    """Play a policy file and the training run that it came from against each other."""

    file: Annotated[Path, tyro.conf.Positional]
    """Policy file."""
    run: Path
    """Folder of the training run."""
    task: str | None = None
    """Task of the file, if it is not catalogued: file.py:NAME, file.toml, gym:ID or module:NAME."""
    episodes: int = 10
    """Episodes of each side, in lockstep."""
    seed: int = 1
    """Seed of resets and noise."""
    provider: str = "cpu"
    """Execution provider of the file: `cpu`, `cuda`, `tensorrt` or `openvino`."""


def main() -> None:
    """Print one line with the result."""
    config = tyro.cli(Config, prog="python -m odeploy_export.cli.closed_loop")
    torch.set_num_threads(1)  # several spin at their barriers: beside a busy process 30 times as slow
    file = OnnxPolicy.load(config.file, config.provider)
    if file.manifest.state_size:
        Terminal().print(
            "closed loop: not run (a recurrent policy; its parity check plays sequences)", highlight=False
        )
        return
    policy = policy_of(config.run, file.manifest)
    act = deployed_as(policy, file.manifest).reference(torch.float32)
    task = named(of_policy(str(config.file), file.manifest), config.task)
    agreement = compare(act, file, task, config.episodes, config.seed)
    Terminal().print(f"closed loop: {agreement}", highlight=False, soft_wrap=True)


if __name__ == "__main__":
    try:
        main()
    except OdeployError as error:
        sys.exit(str(error))
