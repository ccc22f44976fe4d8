"""odeploy: ODE policies, deployed. The public Python API.

Names are imported on first use, so `import odeploy` needs no torch and no simulator.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from odeploy_export.options import ParityOptions, ReadingOptions, SamplerOptions
    from odeploy_export.pipeline import export_module, export_run, export_sb3
    from odeploy_runtime.errors import OdeployError
    from odeploy_runtime.policy_file.actuation import Actuation
    from odeploy_runtime.policy_file.file import PolicyFile
    from odeploy_runtime.policy_file.file import read as read_policy_file
    from odeploy_runtime.policy_file.manifest import Manifest
    from odeploy_runtime.policy_file.recipe import Recipe
    from odeploy_runtime.realtime.serving import serving
    from odeploy_runtime.reports.latency import Summary
    from odeploy_runtime.reports.latency import summary as summarise
    from odeploy_runtime.robot.options import LoopOptions
    from odeploy_runtime.robot.plant import Outcome, Plant
    from odeploy_runtime.robot.policy_player import PolicyPlayer, load_policy
    from odeploy_runtime.robot.remote_player import RemotePlayer, connect
    from odeploy_runtime.robot.run import Scoring, run
    from odeploy_runtime.server.options import ServerOptions
    from odeploy_runtime.server.run import Access, serve
    from odeploy_runtime.signals import Signal
    from odeploy_runtime.trace.format import Trace
    from odeploy_runtime.trace.reader import read_trace
    from odeploy_runtime.transport.keys import RobotKeys
    from odeploy_sim.demonstrations.own_expert import collect
    from odeploy_sim.own_tasks.environments import make_env, make_vector_env
    from odeploy_sim.own_tasks.reference import resolve as get_task
    from odeploy_sim.own_tasks.registry import register as register_task
    from odeploy_sim.simulated_robot.plant import make_plant
    from odeploy_sim.tasks.task import Task

__all__ = [
    "Access",
    "Actuation",
    "LoopOptions",
    "Manifest",
    "OdeployError",
    "Outcome",
    "ParityOptions",
    "Plant",
    "PolicyFile",
    "PolicyPlayer",
    "ReadingOptions",
    "Recipe",
    "RemotePlayer",
    "RobotKeys",
    "SamplerOptions",
    "Scoring",
    "ServerOptions",
    "Signal",
    "Summary",
    "Task",
    "Trace",
    "collect",
    "connect",
    "export_module",
    "export_run",
    "export_sb3",
    "get_task",
    "load_policy",
    "make_env",
    "make_plant",
    "make_vector_env",
    "read_policy_file",
    "read_trace",
    "register_task",
    "run",
    "serve",
    "serving",
    "summarise",
]

_PLACES = {
    "Access": "odeploy_runtime.server.run",
    "Actuation": "odeploy_runtime.policy_file.actuation",
    "LoopOptions": "odeploy_runtime.robot.options",
    "Manifest": "odeploy_runtime.policy_file.manifest",
    "OdeployError": "odeploy_runtime.errors",
    "Outcome": "odeploy_runtime.robot.plant",
    "ParityOptions": "odeploy_export.options",
    "Plant": "odeploy_runtime.robot.plant",
    "PolicyFile": "odeploy_runtime.policy_file.file",
    "PolicyPlayer": "odeploy_runtime.robot.policy_player",
    "ReadingOptions": "odeploy_export.options",
    "Recipe": "odeploy_runtime.policy_file.recipe",
    "RemotePlayer": "odeploy_runtime.robot.remote_player",
    "RobotKeys": "odeploy_runtime.transport.keys",
    "SamplerOptions": "odeploy_export.options",
    "Scoring": "odeploy_runtime.robot.run",
    "ServerOptions": "odeploy_runtime.server.options",
    "Signal": "odeploy_runtime.signals",
    "Summary": "odeploy_runtime.reports.latency",
    "Task": "odeploy_sim.tasks.task",
    "Trace": "odeploy_runtime.trace.format",
    "collect": "odeploy_sim.demonstrations.own_expert",
    "connect": "odeploy_runtime.robot.remote_player",
    "export_module": "odeploy_export.pipeline",
    "export_run": "odeploy_export.pipeline",
    "export_sb3": "odeploy_export.pipeline",
    "get_task": "odeploy_sim.own_tasks.reference:resolve",
    "load_policy": "odeploy_runtime.robot.policy_player",
    "make_env": "odeploy_sim.own_tasks.environments",
    "make_plant": "odeploy_sim.simulated_robot.plant",
    "make_vector_env": "odeploy_sim.own_tasks.environments",
    "read_policy_file": "odeploy_runtime.policy_file.file:read",
    "read_trace": "odeploy_runtime.trace.reader",
    "register_task": "odeploy_sim.own_tasks.registry:register",
    "run": "odeploy_runtime.robot.run",
    "serve": "odeploy_runtime.server.run",
    "serving": "odeploy_runtime.realtime.serving",
    "summarise": "odeploy_runtime.reports.latency:summary",
}
"""Public name -> its module, and its name there if it has another one."""


def __getattr__(name: str) -> Any:
    """Import a public name on first use; the second use finds it here."""
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, _, inside = _PLACES[name].partition(":")
    found = getattr(import_module(module), inside or name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    """List the public names too."""
    return sorted({*globals(), *__all__})
