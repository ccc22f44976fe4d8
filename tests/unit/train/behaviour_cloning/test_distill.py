"""`odeploy train distill`, small: exact continuation across rounds, labels, and the fit to the teacher."""

import os
import signal
from pathlib import Path

import pytest
import torch

from odeploy_runtime.errors import ContractError, UsageError
from odeploy_sim.catalogue import get
from odeploy_sim.demonstrations.dataset import load
from odeploy_train.behaviour_cloning import distill, fm_bc
from odeploy_train.modules.ode import EULER, uniform_grid
from odeploy_train.policies.flow import FlowConfig, FlowPolicy
from odeploy_train.policies.student import StudentConfig, StudentPolicy
from odeploy_train.runs import checkpoint
from odeploy_train.runs.folder import load_policy
from odeploy_train.runs.rollouts import Rollouts

MAZE = get("maze-medium")
TINY = ("--batch", "16", "--width", "16", "--depth", "1", "--threads", "1", "--score-episodes", "0")
FEW = ("--draws", "2", "--teacher-steps", "2", "--rounds", "2", "--episodes", "1")


@pytest.fixture(scope="module")
def teacher(demos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("teacher") / "run"
    fm_bc.main(["--task", "maze-medium", "--demos", str(demos), "--out", str(out), "--steps", "40", *TINY])
    return out


UNEVEN_LOW, UNEVEN_HIGH = torch.tensor([-2.0, 5.0]), torch.tensor([1.0, 15.0])


def arguments(teacher: Path, demos: Path, out: Path) -> list[str]:
    where = ["--teacher", str(teacher), "--demos", str(demos), "--out", str(out)]
    return [*where, "--steps", "30", *TINY, *FEW]


def imitation(config: distill.Config, teacher: FlowPolicy, observations: torch.Tensor) -> distill.Imitation:
    student, state = distill.start(config, StudentConfig(6, 2, config.width, config.depth), MAZE, observations)
    return distill.Imitation(config, teacher, student, state, observations, Rollouts(MAZE, 1))


def bent_teacher() -> FlowPolicy:
    torch.manual_seed(0)
    policy = FlowPolicy(FlowConfig(6, 2, width=8, depth=1))
    observations, actions = torch.randn(50, 6), torch.rand(50, 2) - 0.5
    policy.fit(observations, actions, MAZE.action)
    with torch.no_grad():
        policy.velocity.first.weight.mul_(4)  # with default weights the action hardly depends on the observation
        policy.velocity.last.weight.mul_(4)
    return policy


def run_interrupted(arguments: list[str], step: int, monkeypatch: pytest.MonkeyPatch) -> None:
    original = distill.Imitation.loss

    def loss(self: distill.Imitation) -> torch.Tensor:
        if self.state.step == step:
            os.kill(os.getpid(), signal.SIGINT)
        return original(self)

    with monkeypatch.context() as patch:
        patch.setattr(distill.Imitation, "loss", loss)
        distill.main(arguments)


def uneven_teacher() -> FlowPolicy:
    """Return a teacher whose robot units differ from unit scale in size and centre."""
    policy = bent_teacher()
    policy.action_mean, policy.action_std = torch.tensor([-0.5, 10.0]), torch.tensor([0.5, 2.0])
    policy.low, policy.high = UNEVEN_LOW, UNEVEN_HIGH
    return policy


@pytest.fixture(scope="module")
def whole(teacher: Path, demos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("whole") / "run"
    distill.main(arguments(teacher, demos, out))
    return out


@pytest.mark.parametrize("step", [9, 10, 14])  # a round takes place at step 10
def test_resuming_gives_the_same_weights_as_an_uninterrupted_run(
    whole: Path, teacher: Path, demos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    with pytest.raises(KeyboardInterrupt):
        run_interrupted(arguments(teacher, demos, tmp_path / "cut"), step, monkeypatch)
    saved = checkpoint.load(tmp_path / "cut")
    assert saved is not None
    assert saved["step"] == step + 1
    distill.main(arguments(teacher, demos, tmp_path / "cut"))
    expected, got = checkpoint.load(whole), checkpoint.load(tmp_path / "cut")
    assert expected is not None
    assert got is not None
    for part in ("policy", "gathered"):
        assert list(expected[part]) == list(got[part])
        assert all(torch.equal(expected[part][name], got[part][name]) for name in expected[part])


def test_each_round_adds_the_observations_that_the_student_visited(
    whole: Path, teacher: Path, demos: Path, tmp_path: Path
) -> None:
    distill.main([*arguments(teacher, demos, tmp_path / "none"), "--rounds", "0"])
    data = torch.from_numpy(load(str(demos), MAZE).observations)
    two, none = checkpoint.load(whole), checkpoint.load(tmp_path / "none")
    assert two is not None
    assert none is not None
    assert torch.equal(none["gathered"]["observations"], data)
    assert torch.equal(two["gathered"]["observations"][: len(data)], data)
    visited = len(two["gathered"]["observations"]) - len(data)
    assert 2 <= visited <= 2 * MAZE.horizon
    assert len(two["gathered"]["labels"]) == len(data) + visited


def test_rounds_are_evenly_spaced_and_end_before_the_last_steps(tmp_path: Path) -> None:
    config = distill.Config(tmp_path, "", tmp_path, steps=60, rounds=5, width=8)
    assert sorted(imitation(config, bent_teacher(), torch.randn(5, 6)).boundaries) == [10, 20, 30, 40, 50]


def test_a_label_is_the_mean_of_the_teachers_samples(tmp_path: Path) -> None:
    config = distill.Config(tmp_path, "", tmp_path, draws=3, teacher_steps=4, width=8)
    teacher, observations = bent_teacher(), torch.randn(5, 6)
    learner = imitation(config, teacher, observations)
    generator = torch.Generator()
    generator.set_state(learner.state.generator.get_state())
    noise = torch.randn(15, 2, generator=generator)
    with torch.no_grad():
        samples = [
            teacher.sample(observations, noise[5 * i : 5 * i + 5], EULER, uniform_grid(4)) for i in range(3)
        ]
    torch.testing.assert_close(learner.label(observations), torch.stack(samples).mean(dim=0))


def test_the_noise_of_labels_falls_with_the_square_root_of_the_draws(tmp_path: Path) -> None:
    observations = torch.randn(1, 6).repeat(4000, 1)
    spread = []
    for draws in (1, 16):
        config = distill.Config(tmp_path, "", tmp_path, draws=draws, teacher_steps=2, width=8)
        spread.append(imitation(config, bent_teacher(), observations).label(observations).std(dim=0))
    torch.testing.assert_close(spread[0] / spread[1], torch.full((2,), 4.0), atol=0.4, rtol=0)


def test_the_student_learns_its_teachers_mean_actions(tmp_path: Path) -> None:
    config = distill.Config(tmp_path, "", tmp_path, steps=400, batch=64, rounds=0, draws=8, width=32, lr=1e-2)
    observations = torch.randn(500, 6)
    learner = imitation(config, uneven_teacher(), observations)
    learner.student.low, learner.student.high = UNEVEN_LOW, UNEVEN_HIGH
    losses = []
    for _ in range(config.steps):
        loss = learner.loss()
        learner.state.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        learner.state.optimizer.step()
        losses.append(loss.item())
    assert sum(losses[-20:]) < 0.5 * sum(losses[:20])
    labels = learner.label(observations)
    with torch.no_grad():
        error = (learner.student(observations) - labels).square().mean(dim=0)
    assert (error < 0.5 * labels.var(dim=0)).all()


def test_a_run_records_its_teacher_by_hash_and_not_by_path(whole: Path, teacher: Path) -> None:
    policy, card = load_policy(whole)
    assert isinstance(policy, StudentPolicy)
    assert (card.method, card.kind, card.task) == ("distill", "student", "maze-medium")
    assert card.teacher is not None
    assert card.teacher["method"] == "fm-bc"
    assert len(card.teacher["weights_hash"]) == 64
    assert str(teacher.parent) not in str(card.provenance)


def test_another_teacher_in_the_same_folder_is_refused(whole: Path, demos: Path, tmp_path: Path) -> None:
    where = ["--task", "maze-medium", "--demos", str(demos), "--out", str(tmp_path)]
    fm_bc.main([*where, "--steps", "40", "--seed", "9", *TINY])
    with pytest.raises(UsageError, match="run, teacher: expected"):
        distill.main(arguments(tmp_path, demos, whole))


def test_a_student_as_teacher_is_refused(whole: Path, demos: Path, tmp_path: Path) -> None:
    with pytest.raises(
        ContractError,
        match="expected a flow with one action per observation, got a policy of kind student, by distill",
    ):
        distill.main(arguments(whole, demos, tmp_path / "grandchild"))
    assert not (tmp_path / "grandchild").exists()


@pytest.mark.parametrize(("rounds", "steps"), [("-1", "30"), ("30", "30")])
def test_rounds_that_do_not_fit_are_refused(
    teacher: Path, demos: Path, tmp_path: Path, rounds: str, steps: str
) -> None:
    with pytest.raises(
        UsageError, match=f"--rounds: expected 0 or more, and fewer than the 30 steps, got {rounds}"
    ):
        distill.main([*arguments(teacher, demos, tmp_path), "--rounds", rounds, "--steps", steps])
