"""Tasks from gymnasium ids: `gym:Reacher-v5`, `gym:my_package:MyEnv-v0`."""

import contextlib
import io
from typing import Any

import gymnasium
from gymnasium.spaces import Dict

from odeploy_runtime.errors import MissingError, UsageError, first_line
from odeploy_runtime.signals import Signal
from odeploy_sim.own_tasks import signals_of_spaces
from odeploy_sim.own_tasks.python_task import loaded, module
from odeploy_sim.tasks.env import physics_data
from odeploy_sim.tasks.task import Task

_SUCCESS_KEYS = ("is_success", "success")
_RAISES_NOTHING = "an environment that raises nothing"


def task(reference: str, /, **overrides: Any) -> Task:
    """Return the task of `gym:ID` or `gym:PACKAGE:ID`.

    Its signals are named after the model's joints, actuators and sensors as far as values tell them apart.

    Args:
        reference: as on the command line.
        overrides: facts of the task that the environment does not tell, or tells differently.

    Raises:
        MissingError: no such package or environment, or it states no rate or horizon.
        UsageError: an observation or action that is no vector of numbers.
    """
    package, _, gym_id = reference.removeprefix("gym:").rpartition(":")
    package = package or "gymnasium"
    env = _made(reference, package, gym_id, overrides.get("make_arguments", {}))
    try:
        signals_of_spaces.require_vectors(env, reference)
        (observation, action), info = loaded(reference, lambda: _played(env), _RAISES_NOTHING)
        data = physics_data(env)
        facts: dict[str, Any] = {
            "name": gym_id.replace("/", "-"),
            "observation": observation,
            "action": action,
            "rate_hz": overrides.get("rate_hz") or _rate_hz(env, reference),
            "horizon": overrides.get("horizon") or _horizon(env, reference),
            "summary": f"gymnasium's {gym_id}",
            "gym_id": gym_id,
            "package": package,
            "physics_step_s": None if data is None else float(data.model.opt.timestep),
            "observation_keys": tuple(env.observation_space) if isinstance(env.observation_space, Dict) else (),
            "success_key": next((key for key in _SUCCESS_KEYS if key in info), None),
            "reference": reference,
        }
    finally:
        env.close()
    return Task(**facts | overrides)


def _played(
    env: "gymnasium.Env[Any, Any]",
) -> tuple[tuple[tuple[Signal, ...], tuple[Signal, ...]], dict[str, Any]]:
    """Return the signals of observation and action, and what `info` contains."""
    signals = signals_of_spaces.signals(env)
    return signals, env.reset(seed=0)[1] | env.step(env.action_space.sample())[4]


def _made(reference: str, package: str, gym_id: str, arguments: dict[str, Any]) -> "gymnasium.Env[Any, Any]":
    def make() -> "gymnasium.Env[Any, Any]":
        try:
            return gymnasium.make(gym_id, disable_env_checker=True, **arguments)
        except gymnasium.error.Error as error:
            raise MissingError(
                where=reference,
                expected="a registered gymnasium id",
                got=first_line(error),
                remedy="correct the id, or name the package that registers it: gym:PACKAGE:ID",
            ) from None

    with contextlib.redirect_stderr(io.StringIO()):  # gymnasium and its packages print notices
        gymnasium.register_envs(module(reference, package))
        env: gymnasium.Env[Any, Any] = loaded(reference, make, _RAISES_NOTHING)
        return env


def _rate_hz(env: "gymnasium.Env[Any, Any]", reference: str) -> float:
    """Return the control rate: of the physics' ticks, or else of rendering."""
    step_s = getattr(env.unwrapped, "dt", None)
    rate = 1 / step_s if isinstance(step_s, float) and step_s > 0 else env.metadata.get("render_fps")
    if not rate:
        raise UsageError(
            where=reference,
            expected="an environment that states its control rate (dt, or render_fps)",
            got="none",
            remedy=f"write a task file: odeploy tasks new {reference} --rate-hz HZ --out my.toml",
        )
    return float(rate)


def _horizon(env: "gymnasium.Env[Any, Any]", reference: str) -> int:
    horizon = None if env.spec is None else env.spec.max_episode_steps
    if horizon is None:
        raise UsageError(
            where=reference,
            expected="an environment with max_episode_steps",
            got="none",
            remedy=f"write a task file: odeploy tasks new {reference} --horizon TICKS --out my.toml",
        )
    return int(horizon)
