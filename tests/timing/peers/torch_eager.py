"""The network in torch, eager, in the robot's own process."""

import sys

import torch

from odeploy_export.graphs.mlp import StudentGraph
from odeploy_sim.catalogue import get
from tests.policies import student_policy
from tests.timing.peers.tick import Floats, InProcess, drive

TASK, WIDTH = "maze-medium", 256
"""Those of the file that the other peers run."""


def main(size: int) -> None:
    """Drive the network of which the other peers have the export."""
    torch.set_num_threads(1)
    graph = StudentGraph(student_policy(get(TASK), WIDTH))

    @torch.inference_mode()
    def answer(observation: Floats) -> Floats:
        actions: Floats = graph(torch.from_numpy(observation)[None])[0, 0].numpy()
        return actions

    drive(InProcess(answer), size)


if __name__ == "__main__":
    main(int(sys.argv[4]))
