"""The adversarial verbs: students approach the expert on learned rewards."""

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from odeploy_export.pipeline import export_policy
from odeploy_export.sources.runs import from_run
from odeploy_runtime.errors import ContractError, UsageError
from odeploy_sim.catalogue import get
from odeploy_sim.cli import collect
from odeploy_sim.demonstrations.dataset import Demonstrations
from odeploy_sim.tasks.vector import make_vector
from odeploy_train.inverse_rl import imitation
from odeploy_train.inverse_rl.classification import Transitions
from odeploy_train.inverse_rl.imitation import (
    AirlConfig,
    Config,
    DrailConfig,
    GailConfig,
    VailConfig,
    WailConfig,
    start,
)
from odeploy_train.inverse_rl.learned_reward import REWARD_ROWS, LearnedReward
from odeploy_train.on_policy.gaussian import GaussianActor
from odeploy_train.on_policy.rollout import Rollout
from odeploy_train.on_policy.run import Learner
from odeploy_train.policies.mlp import MlpConfig, limits
from odeploy_train.runs import checkpoint, scored_loop
from odeploy_train.runs.interrupts import Interrupts
from tests.thorough import mostly_thorough

HOPPER = get("hopper")
ENVS, TICKS = 2, 64
TARGET = 0.6
SHORT = [
    "--task", "maze-medium", "--steps", "96", "--envs", "2", "--ticks", "16", "--batch", "16", "--epochs", "1",
    "--widths", "8", "--workers", "0", "--discriminator-batch", "8", "--score-episodes", "0",
]  # fmt: skip


def demonstrations(rows: int = 40, mean: float = TARGET, std: float = 0.2) -> Demonstrations:
    """Return two equally long episodes on hopper, all in one state, with actions around the mean."""
    draws = np.random.default_rng(0)
    actions = draws.normal(mean, std, (rows, 3)).astype(np.float32)
    observations = np.zeros((rows, 11), np.float32)
    return Demonstrations(observations, actions, np.array([0, rows // 2]), "", np.zeros(2), None)


def learner(config: Config, data: Demonstrations) -> Learner:
    envs = make_vector(HOPPER, ENVS, seed=3, workers=0)
    return start(config, HOPPER, envs, MlpConfig(11, 3, config.widths), data)


def bandit(action: Tensor) -> Rollout:
    """Return a rollout of one-tick episodes, all in one state and cut by the horizon. Action shape (T, N, 3)."""
    T, N, _ = action.shape
    observation, ones = torch.zeros(T, N, 11), torch.ones(T, N)
    where = torch.cartesian_prod(torch.arange(T), torch.arange(N))
    return Rollout(
        observation, observation, action, 100 * ones, 0 * ones, ones, ones > 0, observation[0],
        (where, torch.zeros(len(where), 11)), ones, ones,
    )  # fmt: skip


def options(kind: type[Config], **more: object) -> Config:
    shared = {"task": "hopper", "out": Path(), "demos": "", "envs": ENVS, "ticks": TICKS, "epochs": 4}
    sizes = {"lr": 2e-3, "batch": 64, "widths": (8,), "discount": 0.0, "discriminator_widths": (16,)}
    discriminator = {"discriminator_lr": 1e-2, "discriminator_batch": 32, "discriminator_epochs": 4}
    return kind(**(shared | sizes | discriminator | more))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "config",
    mostly_thorough(
        [
            options(GailConfig),
            options(GailConfig, reward="positive"),
            options(AirlConfig),
            options(WailConfig),
            options(VailConfig, code_size=8, dual_step=1e-3),
            options(DrailConfig, draws=8, diffusion_steps=100),
        ]
    ),
    ids=["gail", "gail-positive", "airl", "wail", "vail", "drail"],
)
def test_the_student_moves_to_the_experts_actions(config: Config) -> None:
    made = learner(config, demonstrations(400))
    ppo, rounds = made.ppo, 60
    assert isinstance(ppo.actor, GaussianActor)
    assert made.before_update is not None
    for i in range(rounds):
        with torch.no_grad():
            action = ppo.actor.act(torch.zeros(TICKS, ENVS, 11), ppo.generator)
        rollout = bandit(action)
        made.before_update(rollout)
        ppo.update(ppo.rows(rollout), i / rounds)
    ppo.envs.close()
    mean = ppo.actor.mean(torch.zeros(11))
    assert (mean - TARGET).abs().max() < 0.15, mean  # starts at 0


def test_the_environments_reward_is_not_used() -> None:
    made = learner(options(GailConfig), demonstrations())
    assert made.before_update is not None
    rollout = bandit(torch.randn(TICKS, ENVS, 3, generator=torch.Generator().manual_seed(0)))
    made.before_update(rollout)
    rows = made.ppo.rows(rollout)
    made.ppo.return_scale.moments.count.zero_()
    other = made.ppo.rows(replace(rollout, reward=torch.full_like(rollout.reward, math.nan)))
    torch.testing.assert_close(rows.target, other.target)
    made.ppo.envs.close()


def reward_of(made: Learner) -> LearnedReward:
    reward: object = getattr(made.ppo.reward, "__self__", None)
    assert isinstance(reward, LearnedReward)
    return reward


def test_actions_are_compared_as_executed_and_on_unit_scale() -> None:
    """The motors of hand-rotate have limits other than ±1; their midpoint is 0."""
    task = get("hand-rotate")
    low, high = limits(task.action)
    O, A = len(task.observation), len(task.action)  # noqa: E741
    actions = torch.stack([low, (low + high) / 2, high, high + 1]).float().numpy()
    data = Demonstrations(np.zeros((4, O), np.float32), actions, np.array([0]), "", np.zeros(1), None)
    envs = make_vector(task, 1, seed=0, workers=0)
    made = start(options(GailConfig), task, envs, MlpConfig(O, A, (8,)), data)
    expert = reward_of(made).expert_transitions()
    torch.testing.assert_close(
        expert.pair[:, O:], torch.tensor([-1.0, 0.0, 1.0, 1.0])[:, None].expand(4, A), atol=1e-6, rtol=0
    )
    envs.close()
    hopper = learner(options(GailConfig), demonstrations())
    agent = reward_of(hopper).agent_transitions(bandit(torch.full((TICKS, ENVS, 3), -3.0)))
    assert (agent.pair[:, -3:] == -1).all()
    assert (agent.action == -3).all()  # for AIRL, which needs the density of the drawn action
    hopper.ppo.envs.close()


def test_a_terminated_tick_has_no_successor_and_a_cut_one_has_its_episodes_last_state() -> None:
    made = learner(options(AirlConfig), demonstrations())
    T, N = 4, 2
    raw = torch.arange(T * N * 11, dtype=torch.float32).view(T, N, 11) / 10
    terminated, over = torch.zeros(T, N), torch.zeros(T, N)
    terminated[1, 0] = over[1, 0] = over[2, 1] = 1
    last, cut = torch.full((N, 11), 30.0), torch.full((1, 11), -5.0)
    reward = reward_of(made)
    rollout = Rollout(
        raw, made.ppo.normalise(raw), torch.zeros(T, N, 3), over, terminated, over, over >= 0, last,
        (torch.tensor([[2, 1]]), cut), over, over,
    )  # fmt: skip
    t = reward.agent_transitions(rollout)
    assert t.ended.view(T, N).nonzero().tolist() == [[1, 0]]
    following = t.following.view(T, N, 11)
    torch.testing.assert_close(following[0, 0], made.ppo.normalise(raw[1, 0]))
    torch.testing.assert_close(following[2, 1], made.ppo.normalise(cut[0]))
    torch.testing.assert_close(following[3], made.ppo.normalise(last))
    expert = reward.expert_transitions()
    assert expert.ended.nonzero().squeeze(-1).tolist() == [19, 39]
    assert torch.equal(expert.following[0], expert.observation[1])
    made.ppo.envs.close()


def test_some_rows_of_the_demonstrations_are_those_of_all() -> None:
    data = demonstrations()
    data.observations[:] = np.random.default_rng(1).normal(3, 2, data.observations.shape)
    made = learner(options(AirlConfig), data)
    rows = torch.tensor([39, 0, 19, 7, 7])  # with the last row, and the last one of the first episode
    some, whole = reward_of(made).expert_transitions(rows), reward_of(made).expert_transitions().take(rows)
    for name in ("observation", "action", "following", "ended"):
        assert torch.equal(getattr(some, name), getattr(whole, name)), name
    made.ppo.envs.close()


def test_rewards_are_computed_some_ticks_at_a_time_and_equal_those_of_all() -> None:
    made = learner(options(GailConfig, discriminator_widths=(256,)), demonstrations())
    reward, T = reward_of(made), 3 * REWARD_ROWS // ENVS - 1  # the last part is shorter
    rollout = bandit(torch.randn(T, ENVS, 3, generator=torch.Generator().manual_seed(0)))
    sizes: list[int] = []
    forward = reward.module.reward

    def counted(agent: Transitions, generator: torch.Generator) -> Tensor:
        sizes.append(len(agent))
        return forward(agent, generator)

    reward.module.reward = counted  # type: ignore[method-assign]
    reward.learn(rollout)
    with torch.no_grad():
        at_once = forward(reward.agent_transitions(rollout), made.ppo.generator)
    torch.testing.assert_close(reward.reward(rollout).flatten(), at_once)
    assert max(sizes) <= REWARD_ROWS
    assert sum(sizes) == T * ENVS
    made.ppo.envs.close()


def test_the_normaliser_starts_from_the_demonstrations_and_is_shared_with_the_student() -> None:
    data = demonstrations()
    data.observations[:] = np.random.default_rng(1).normal(3, 2, data.observations.shape)
    made = learner(options(GailConfig), data)
    observation = reward_of(made).expert_transitions().observation
    torch.testing.assert_close(observation.mean(0), torch.zeros(11), atol=1e-5, rtol=0)
    torch.testing.assert_close(observation.std(0, correction=0), torch.ones(11), atol=1e-5, rtol=0)
    made.ppo.moments.see(torch.full((40, 11), 50.0))
    moved = reward_of(made).expert_transitions().observation
    torch.testing.assert_close(moved, made.ppo.normalise(torch.from_numpy(data.observations)))
    assert (moved.mean(0) < -0.5).all()
    made.ppo.envs.close()


VERBS: dict[str, tuple[Callable[[list[str]], None], list[str]]] = {
    "gail": (imitation.gail, ["--discriminator-widths", "8", "--reward", "positive"]),
    "airl": (imitation.airl, ["--discriminator-widths", "8", "--state-only"]),
    "wail": (imitation.wail, ["--discriminator-widths", "8"]),
    "vail": (imitation.vail, ["--discriminator-widths", "8", "--code-size", "4"]),
    "drail": (imitation.drail, ["--discriminator-widths", "8", "8", "--diffusion-steps", "20"]),
}


@pytest.mark.parametrize("method", mostly_thorough(VERBS))
def test_every_verb_trains_and_its_policy_is_exported(method: str, demos: Path, tmp_path: Path) -> None:
    verb, more = VERBS[method]
    verb([*SHORT, *more, "--demos", str(demos), "--out", str(tmp_path / "run")])
    source = from_run(tmp_path / "run", None)
    manifest = export_policy(source, tmp_path / "policy.onnx")
    assert (manifest.method, manifest.kind, manifest.task) == (method, "mlp", "maze-medium")
    assert manifest.provenance["data_hash"] is not None
    assert (tmp_path / "policy.onnx").exists()


def test_an_interrupted_run_continues_where_it_stopped(
    demos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Immediate(Interrupts):
        def __enter__(self) -> "Immediate":
            self.asked = True
            return self

    command = [*SHORT, *VERBS["vail"][1], "--demos", str(demos), "--out", str(tmp_path / "run")]
    with monkeypatch.context() as patch:
        patch.setattr(scored_loop, "Interrupts", Immediate)
        with pytest.raises(KeyboardInterrupt):
            imitation.vail(command)
    saved = checkpoint.load(tmp_path / "run")
    assert saved is not None
    assert saved["step"] == 32

    taken: list[Learner] = []
    resume = Learner.resume

    def watched(made: Learner, config: Config) -> None:
        resume(made, config)
        taken.append(made)
        own = made.more["discriminator"].state_dict()
        assert own.keys() == saved["modules"]["discriminator"].keys()
        assert all(torch.equal(own[name], saved["modules"]["discriminator"][name]) for name in own)
        (moments, *_), (before, *_) = (
            state["state"].values()
            for state in (made.optimizers["discriminator"].state_dict(), saved["optimizers"]["discriminator"])
        )
        assert torch.equal(moments["exp_avg"], before["exp_avg"])
        assert moments["step"] == before["step"] == 4  # 32 ticks in batches of 8

    with monkeypatch.context() as patch:
        patch.setattr(Learner, "resume", watched)
        imitation.vail(command)
    assert taken[0].ppo.steps == 96
    capsys.readouterr()
    imitation.vail(command)
    assert "finished already, at step 96" in capsys.readouterr().out
    with pytest.raises(UsageError, match=r"--information: expected 0.5 as in the run.*got 0.7"):
        imitation.vail([*command, "--information", "0.7"])


def test_a_single_episode_is_accepted_with_a_warning(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    collect.main(["maze-medium", "--episodes", "1", "--out", str(tmp_path / "one-v0")])
    imitation.wail([*SHORT, "--demos", str(tmp_path / "one-v0"), "--out", str(tmp_path / "run")])
    assert "one episode only" in capsys.readouterr().out


def test_demonstrations_of_another_task_are_refused_before_anything_is_written(
    demos: Path, tmp_path: Path
) -> None:
    with pytest.raises(ContractError, match="expected episodes of task hopper, got episodes of maze-medium"):
        imitation.gail(["--task", "hopper", "--demos", str(demos), "--out", str(tmp_path / "run")])
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("method", "more", "message"),
    [
        ("gail", ["--discriminator-lr", "0"], "--discriminator-lr: expected a number above 0, got 0"),
        ("vail", ["--information", "-1"], "--information: expected a number above 0, got -1"),
        ("wail", ["--gradient-penalty", "nan"], "--gradient-penalty: expected a number above 0, got nan"),
        ("drail", ["--discriminator-widths", "8", "9"], "expected one width for all hidden layers"),
        ("airl", ["--discriminator-widths", "8", "0"], "--discriminator-widths: expected a number above 0, got 0"),
    ],
)
def test_invalid_options_are_refused(
    method: str, more: list[str], message: str, demos: Path, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=message):
        VERBS[method][0]([*SHORT, *more, "--demos", str(demos), "--out", str(tmp_path / "run")])
    assert not (tmp_path / "run").exists()


def test_a_discriminator_that_diverges_stops_the_run_and_is_named(demos: Path, tmp_path: Path) -> None:
    command = [*SHORT, "--demos", str(demos), "--out", str(tmp_path / "run"), "--discriminator-lr", "1e38"]
    with pytest.raises(UsageError, match=r"expected finite figures, got .* for discriminator/"):
        imitation.wail(command)


def test_with_the_demonstrations_normaliser_the_first_rollout_is_learned_from() -> None:
    made = learner(options(GailConfig), demonstrations())
    figures = made.iterate(options(GailConfig, steps=2 * ENVS * TICKS), ENVS * TICKS, Interrupts())
    assert {"discriminator/reward", "update/kl"} <= set(figures)
    made.ppo.envs.close()
