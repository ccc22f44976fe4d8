"""A run of the simulated robot: `robot.run` with a simulated plant."""

import contextlib
from collections.abc import Callable

from odeploy_runtime.policy_file.file import PolicyFile
from odeploy_runtime.realtime.clock import MonotonicClock
from odeploy_runtime.robot.run import Scoring, run
from odeploy_sim.simulated_robot.deadline import deadline_after_due_ns, measured_step
from odeploy_sim.simulated_robot.options import RunOptions
from odeploy_sim.simulated_robot.plant import SimulatedPlant
from odeploy_sim.simulated_robot.viewer import ViewedEnv
from odeploy_sim.tasks.env import TaskEnv
from odeploy_sim.tasks.task import Task


def drive(
    task: Task,
    policy: str | PolicyFile,
    options: RunOptions,
    file: PolicyFile | None = None,
    *,
    provider: str = "auto",
    ended: Callable[[int], object] = lambda _: None,
) -> None:
    """Run the episodes. However the run ends, the trace of what was run is kept.

    Args:
        task: task to simulate.
        policy: a server's endpoint, or a policy file to run in this process.
        options: options of the run.
        file: the served policy file, if this robot has it: its actuation and action limits then apply here.
        provider: execution provider of a policy in this process.
        ended: called with the number of each episode after its end.
    """
    if file is not None:
        task = task.with_actuation(file.manifest.actuation)
    env, rate_hz = (ViewedEnv if options.view else TaskEnv)(task, options.noise), options.rate or task.rate_hz
    with contextlib.closing(SimulatedPlant(env)) as plant:
        run(
            plant,
            policy,
            mode=options.mode,
            rate_hz=rate_hz,
            episodes=options.episodes,
            seed=options.seed,
            trace=options.trace,
            options=options,
            file=file,
            provider=provider,
            scoring=Scoring(scored_by=task.scored_by, noise_level=options.noise),
            deadline_ns=lambda: deadline_after_due_ns(task, rate_hz, measured_step(env, MonotonicClock())),
            ended=ended,
        )
