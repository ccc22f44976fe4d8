"""FM-IRL: regulariser, redrawn pairs, ablations, and the verb."""

from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from odeploy_runtime.errors import ContractError
from odeploy_sim.catalogue import get
from odeploy_sim.demonstrations.dataset import Demonstrations, load
from odeploy_sim.tasks.vector import make_vector
from odeploy_train.inverse_rl import fm_irl
from odeploy_train.inverse_rl.flow_discriminator import JointFlow
from odeploy_train.inverse_rl.fm_irl import Config, Regulariser, start
from odeploy_train.on_policy.gaussian import GaussianActor
from odeploy_train.on_policy.run import Learner
from odeploy_train.policies.mlp import MlpConfig
from odeploy_train.runs import checkpoint
from odeploy_train.runs.folder import load_policy

MAZE = get("maze-medium")
SIZES = MlpConfig(6, 2, (8,), clip=10.0)


def config(out: Path, demos: Path) -> Config:
    return Config(
        "maze-medium", out, demos=str(demos), envs=2, ticks=32, epochs=2, batch=32, widths=(8,), workers=0,
        teacher_width=8, teacher_depth=1, draws=2, pairs=16, flow_steps=3, pretrain=4, steps=128, score_every=64,
        score_episodes=0,
    )  # fmt: skip


@pytest.fixture(scope="module")
def demonstrations(demos: Path) -> Demonstrations:
    return load(str(demos), MAZE)


def learner(options: Config, demonstrations: Demonstrations) -> Learner:
    return start(options, MAZE, make_vector(MAZE, options.envs, workers=0), SIZES, demonstrations)


def test_a_regularised_mean_moves_to_the_teachers_action() -> None:
    """With every pair at (s, 0.7) the loss alone moves μ(s) to 0.7."""
    actor = GaussianActor(1, 1, (8,))
    pairs = torch.zeros(4, 1), torch.full((4, 1), 0.7)
    held = Regulariser(actor, lambda: pairs, weight=1.0, each_minibatch=False)
    optimizer = torch.optim.Adam(actor.parameters(), lr=0.05)
    for _ in range(100):
        loss, _ = held.loss()
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    assert actor.mean(torch.zeros(1)).item() == pytest.approx(0.7, abs=0.01)


def test_the_regulariser_is_half_the_weighted_mean_squared_distance() -> None:
    actor = GaussianActor(2, 3, (4,))
    observation, action = torch.randn(5, 2), torch.randn(5, 3)
    loss, info = Regulariser(actor, lambda: (observation, action), 0.4, False).loss()
    distance = ((actor.mean(observation) - action) ** 2).sum() / (5 * 3)
    torch.testing.assert_close(loss, 0.4 * 0.5 * distance)
    torch.testing.assert_close(info["regulariser"], distance)


@pytest.mark.parametrize("size", [1, 2, 20])
def test_the_regulariser_is_independent_of_the_number_of_action_dimensions(size: int) -> None:
    """Every action is 0.3 from the mean: β ½ 0.3², however many there are."""
    actor, observation = GaussianActor(2, size, (4,)), torch.randn(5, 2)
    pairs = observation, actor.mean(observation).detach() + 0.3
    assert Regulariser(actor, lambda: pairs, 0.4, False).loss()[0].item() == pytest.approx(0.4 * 0.5 * 0.09)


@pytest.mark.parametrize(("redraw", "draws"), [("update", 2), ("minibatch", 8)])
def test_pairs_are_drawn_for_each_rollout_or_each_minibatch(
    tmp_path: Path,
    demos: Path,
    demonstrations: Demonstrations,
    redraw: str,
    draws: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made: list[Tensor] = []
    real = JointFlow.sample

    def sample(self: JointFlow, *arguments: object) -> tuple[Tensor, Tensor]:
        pairs = real(self, *arguments)  # type: ignore[arg-type]
        made.append(pairs[0])
        return pairs

    monkeypatch.setattr(JointFlow, "sample", sample)
    options = replace(config(tmp_path, demos), redraw=redraw)  # type: ignore[arg-type]
    found = learner(options, demonstrations)
    with closing(found.ppo.envs):
        for _ in range(2):
            rollout = found.ppo.collect()
            assert found.before_update is not None
            found.before_update(rollout)
            found.ppo.update(found.ppo.rows(rollout), 0.0)
    assert len(made) == draws
    assert not torch.equal(made[0], made[1])


def test_pairs_can_be_the_demonstrations_themselves(
    tmp_path: Path, demos: Path, demonstrations: Demonstrations
) -> None:
    """Each pair is a row of the data, observation and action of one tick, in units of the student."""
    options = replace(config(tmp_path, demos), pairs_from="demonstrations")
    found = learner(options, demonstrations)
    with closing(found.ppo.envs):
        assert found.ppo.added_loss is not None
        regulariser = found.ppo.added_loss.__self__  # type: ignore[attr-defined]
        assert isinstance(regulariser, Regulariser)
        observation, action = regulariser.draw()
        rows = found.ppo.normalise(torch.from_numpy(demonstrations.observations))
        same = (observation[:, None] == rows).all(-1)
        assert len(observation) == len(action) == options.pairs
        assert same.any(1).all()
        of_rows = torch.from_numpy(demonstrations.actions)[same.int().argmax(1)]
        torch.testing.assert_close(action, of_rows)
        assert not torch.equal(observation, regulariser.draw()[0])


def test_the_teachers_reward_replaces_the_environments(
    tmp_path: Path, demos: Path, demonstrations: Demonstrations
) -> None:
    found = learner(config(tmp_path, demos), demonstrations)
    with closing(found.ppo.envs):
        rollout = found.ppo.collect()
        assert found.before_update is not None
        assert found.ppo.reward is not None
        found.before_update(rollout)
        rewards = found.ppo.reward(rollout)
    assert rewards.shape == rollout.reward.shape
    assert rewards.std() > 0
    assert not torch.allclose(rewards, rollout.reward)


def test_the_critics_error_counts_half_of_ppos(
    tmp_path: Path, demos: Path, demonstrations: Demonstrations
) -> None:
    """The paper's code halves the squared error before it weights it by 0.5."""
    found = learner(config(tmp_path, demos), demonstrations)
    with closing(found.ppo.envs):
        assert found.ppo.config.value_coefficient == 0.25


def test_ablations_leave_out_the_reward_or_the_regulariser(
    tmp_path: Path, demos: Path, demonstrations: Demonstrations
) -> None:
    free = learner(replace(config(tmp_path, demos), regulariser=0.0), demonstrations)
    assert free.ppo.added_loss is None
    blind = learner(replace(config(tmp_path, demos), rewarded=False, bonus=2.0), demonstrations)
    with closing(free.ppo.envs), closing(blind.ppo.envs):
        rollout = blind.ppo.collect()
        assert blind.ppo.reward is not None
        assert (blind.ppo.reward(rollout) == 2).all()


def arguments(out: Path, demos: Path) -> list[str]:
    options = {
        "--task": "maze-medium", "--demos": demos, "--out": out, "--envs": 2, "--ticks": 32, "--epochs": 1,
        "--batch": 32, "--widths": 8, "--workers": 0, "--teacher-width": 8, "--teacher-depth": 1, "--draws": 2,
        "--pairs": 16, "--flow-steps": 3, "--pretrain": 4, "--steps": 128, "--score-every": 64,
        "--score-episodes": 0,
    }  # fmt: skip
    return [str(part) for pair in options.items() for part in pair]


def test_the_verb_trains_a_student_that_loads_as_a_policy(tmp_path: Path, demos: Path) -> None:
    fm_irl.main(arguments(tmp_path / "run", demos))
    policy, card = load_policy(tmp_path / "run")
    assert (card.method, card.kind, card.steps) == ("fm-irl", "mlp", 128)
    assert policy(torch.zeros(3, 6, dtype=torch.float64)).shape == (3, 2)
    saved = checkpoint.load(tmp_path / "run")
    assert saved is not None
    assert "discriminator" in saved["modules"]
    assert "discriminator" in saved["optimizers"]


def test_demonstrations_of_another_task_are_refused(tmp_path: Path, demos: Path) -> None:
    options = arguments(tmp_path / "run", demos)
    options[options.index("maze-medium")] = "fetch-reach"
    with pytest.raises(ContractError, match="episodes of task fetch-reach"):
        fm_irl.main(options)
    assert not (tmp_path / "run").exists()
