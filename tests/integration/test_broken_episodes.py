"""Every player replaces episodes in which the simulation breaks."""

from collections.abc import Iterator
from contextlib import closing
from itertools import count, islice

import numpy as np
import pytest
import torch
from rich.console import Console
from torch import Tensor

from odeploy_export.parity.closed_loop import compare
from odeploy_runtime.inference.onnx_policy import OnnxPolicy
from odeploy_runtime.policy_file.file import PolicyFile, read
from odeploy_runtime.robot.chunk_playback import ChunkOptions
from odeploy_sim.bench.batched_policy import FileScorer
from odeploy_sim.bench.score import score
from odeploy_sim.catalogue import TASKS
from odeploy_sim.tasks.env import TaskEnv, episode_seed
from odeploy_train.figures.goal_shares import play
from odeploy_train.runs.rollouts import Act, Rollouts
from tests.exports import reference_of
from tests.policies import flow_policy, policy_path
from tests.unit.sim_bridge.brittle import FRAGILE, FRAGILE_FROM

SEED, EPISODES = 1, 6


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PolicyFile]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(TASKS, FRAGILE.name, FRAGILE)
        yield read(policy_path(tmp_path_factory.mktemp("fragile"), FRAGILE, "flow"))


@pytest.fixture(scope="module")
def broken() -> int:
    """Number of broken episodes before the EPISODES-th valid one."""
    with closing(TaskEnv(FRAGILE)) as env:
        valid = (n for n in count() if env.reset(episode_seed(SEED, n))[0] <= FRAGILE_FROM)
        number = list(islice(valid, EPISODES))[-1] + 1 - EPISODES
    assert number > 0
    return number


def still(observation: Tensor) -> Tensor:
    return torch.zeros(len(observation), 1)


def test_odeploy_score_replaces_broken_episodes(file: PolicyFile, broken: int) -> None:
    figures = score(FRAGILE, EPISODES, SEED, 1.0, file, ChunkOptions(), Console(quiet=True))
    assert (figures["episodes"], figures["invalid"]) == (EPISODES, broken)
    with closing(FileScorer(FRAGILE)) as scorer:
        scores = scorer.play(file, SEED, EPISODES, ChunkOptions())
    assert (len(scores.returns), scores.invalid) == (EPISODES, broken)
    assert figures["return_mean"] == pytest.approx(scores.returns.mean(), rel=1e-6)


def test_a_trainings_score_replaces_broken_episodes(broken: int) -> None:
    with closing(Rollouts(FRAGILE)) as rollouts:
        episodes = rollouts.play(still, SEED, EPISODES)
    assert (len(episodes.returns), len(episodes.successes), episodes.invalid) == (EPISODES, EPISODES, broken)
    assert episodes.observations.shape == (EPISODES * FRAGILE.horizon, 2)
    assert (episodes.observations[:, 0] <= FRAGILE_FROM).all()
    assert episodes.score(FRAGILE).endswith(f"over {EPISODES} lockstep episodes, {broken} broke")


def test_a_policy_with_state_is_reset_for_each_replacement(broken: int) -> None:
    starts = 0

    def begin() -> Act:
        nonlocal starts
        starts += 1
        return still

    with closing(Rollouts(FRAGILE, parallel=1)) as rollouts:
        episodes = rollouts.play_with_state(begin, SEED, EPISODES)
    assert episodes.invalid == broken
    assert starts == EPISODES + broken


def test_goal_shares_replace_broken_episodes(broken: int) -> None:
    ways, invalid = play(FRAGILE, still, EPISODES, SEED)
    assert (len(ways), invalid) == (EPISODES, broken)
    assert {len(way) for way in ways} == {FRAGILE.horizon + 1}


def test_the_closed_loop_check_replaces_broken_pairs(file: PolicyFile, broken: int) -> None:
    act = reference_of(flow_policy(FRAGILE), file.manifest.sampler, torch.float32)
    agreement = compare(act, OnnxPolicy(file), FRAGILE, EPISODES, SEED)
    assert (len(agreement.ticks), agreement.invalid) == (EPISODES, broken)
    assert set(agreement.ticks) == {FRAGILE.horizon}
    assert np.allclose(agreement.torch, agreement.onnx)
    assert str(agreement).endswith(f"; {broken} more broke")
