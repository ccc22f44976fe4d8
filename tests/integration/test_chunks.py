"""Action chunks through a real server and a real robot equal those computed from the file in this process."""

from pathlib import Path

import numpy as np
import pytest

from odeploy_runtime.inference.noise import NoiseSource
from odeploy_runtime.inference.policy import load_policy
from odeploy_runtime.policy_file.file import read
from odeploy_runtime.robot.chunk_playback import ChunkOptions
from odeploy_runtime.trace.format import APPLIED, Trace
from odeploy_runtime.trace.reader import read_trace
from odeploy_sim.catalogue.mazes import MAZE_MEDIUM
from odeploy_sim.demonstrations.policy_player import player
from tests.chunk_flow import chunk_file
from tests.integration.programs import odeploy

SEED = 5


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[int | None, Path]:
    folder = tmp_path_factory.mktemp("chunks")
    return {frozen: chunk_file(folder, MAZE_MEDIUM, 8, frozen) for frozen in (None, 2)}


def driven(folder: Path, file: Path, *options: str) -> Trace:
    path = folder / "chunks.trace"
    command = ["sim", "maze-medium", "--policy", str(file), "--trace", str(path), "--episodes", "1"]
    result = odeploy(*command, "--seed", str(SEED), *options)
    assert result.returncode == 0, result.stdout + result.stderr
    return read_trace(path)


def test_in_lockstep_the_first_four_actions_of_each_chunk_are_applied(
    tmp_path: Path, files: dict[int | None, Path]
) -> None:
    rows = driven(tmp_path, files[None], "--mode", "lockstep", "--execute", "4").rows
    policy = load_policy(read(files[None]), "auto")  # as a server loads it by default
    noise = NoiseSource(policy.manifest.noise, SEED)
    for start in range(0, len(rows), 4):
        chunk = policy.infer(rows["observation"][start], noise.draw(0, start))
        here = rows["offered"][start : start + 4]
        np.testing.assert_array_equal(here, chunk[: len(here)])
    np.testing.assert_array_equal(rows["action"], rows["offered"])


@pytest.mark.parametrize("options", [ChunkOptions(execute=4, ahead=2), ChunkOptions(blend=0.1)], ids=str)
def test_real_time_chunking_and_blending_give_the_same_actions_through_a_server_and_in_process(
    tmp_path: Path, files: dict[int | None, Path], options: ChunkOptions
) -> None:
    rows = driven(tmp_path, files[2], "--mode", "lockstep", *options.given()).rows
    act = player(read(files[2]), MAZE_MEDIUM, SEED, options).begin(0)
    for row in rows:
        np.testing.assert_array_equal(row["offered"], act(row["observation"]))


@pytest.mark.thorough
def test_a_paced_robot_plays_chunks_and_sends_requests_at_only_some_ticks(
    tmp_path: Path, files: dict[int | None, Path]
) -> None:
    rows = driven(tmp_path, files[2], "--rate", "50", "--execute", "4", "--ahead", "2").rows
    applied = rows[rows["kind"] == APPLIED]
    assert len(applied) > 0  # how many depends on the machine
    assert 0 < (rows["stamps"][:, 3] > 0).sum() < len(rows)


def test_executing_more_than_the_files_horizon_is_refused_with_one_line(
    tmp_path: Path, files: dict[int | None, Path]
) -> None:
    command = ["sim", "maze-medium", "--policy", str(files[None]), "--trace", str(tmp_path / "t")]
    result = odeploy(*command, "--mode", "lockstep", "--execute", "9")
    assert result.returncode == 2
    assert "--execute: expected from 1 to 8, the number of actions in the policy's answer, got 9" in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
