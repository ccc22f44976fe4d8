"""The front door: one console command, `odeploy VERB`; only the chosen verb's module is imported.

A user's mistake ends as one line on stderr and exit status 2, Ctrl-C as 130, and SIGTERM takes the same
way out as Ctrl-C, so that traces are kept and child processes ended.
"""

import importlib
import os
import signal
import sys
from types import FrameType
from typing import NoReturn

from odeploy_runtime.errors import OdeployError

# verb -> (module with `main(arguments)` or `module:function`, extra beyond the runtime, what it does)
VERBS = {
    "tasks": ("odeploy_sim.cli.tasks", "sim", "list the catalogued tasks, or one task's signals"),
    "collect": ("odeploy_sim.cli.collect", "sim", "record an expert's episodes as a Minari dataset"),
    "demos show": ("odeploy_sim.cli.demos", "sim,report", "print a demonstration set's card, draw its episodes"),
    "score": ("odeploy_sim.bench.score", "sim,cpu", "score tasks' experts, or a policy file, in lockstep"),
    "train fm-bc": (
        "odeploy_train.behaviour_cloning.fm_bc",
        "train,sim",
        "train a flow-matching behaviour-cloning teacher",
    ),
    "train bc": (
        "odeploy_train.behaviour_cloning.bc",
        "train,sim",
        "clone behaviour with an MLP, the plainest baseline",
    ),
    "train gru-bc": (
        "odeploy_train.behaviour_cloning.gru_bc",
        "train,sim",
        "clone behaviour with a GRU, which keeps a state over ticks",
    ),
    "train dp": ("odeploy_train.behaviour_cloning.dp", "train,sim", "train a diffusion policy with state input"),
    "train distill": (
        "odeploy_train.behaviour_cloning.distill",
        "train,sim",
        "distil a teacher into a small MLP student",
    ),
    "train ppo": (
        "odeploy_train.on_policy.gaussian_ppo",
        "train,sim",
        "train a Gaussian MLP policy by PPO on the task's reward",
    ),
    "train fpo": ("odeploy_train.flow_rl.fpo_run", "train,sim", "train a flow policy by FPO on the task's reward"),
    "train fpo++": (
        "odeploy_train.flow_rl.fpo_plus_plus_run",
        "train,sim",
        "train a flow policy by FPO++ on the task's reward",
    ),
    "train dppo": ("odeploy_train.flow_rl.dppo", "train,sim", "train a flow policy by PPO on its denoising steps"),
    "train fm-ppo": ("odeploy_train.flow_rl.fm_ppo", "train,sim", "train a flow policy by PPO on its density"),
    "train fm-a2c": (
        "odeploy_train.flow_rl.fm_a2c",
        "train,sim",
        "train a flow policy by a critic's gradient through its solver",
    ),
    "train gail": ("odeploy_train.inverse_rl.imitation:gail", "train,sim", "train by adversarial imitation: GAIL"),
    "train airl": ("odeploy_train.inverse_rl.imitation:airl", "train,sim", "train by adversarial imitation: AIRL"),
    "train wail": ("odeploy_train.inverse_rl.imitation:wail", "train,sim", "train by adversarial imitation: WAIL"),
    "train vail": ("odeploy_train.inverse_rl.imitation:vail", "train,sim", "train by adversarial imitation: VAIL"),
    "train drail": (
        "odeploy_train.inverse_rl.imitation:drail",
        "train,sim",
        "train by adversarial imitation: DRAIL",
    ),
    "train fm-irl": (
        "odeploy_train.inverse_rl.fm_irl",
        "train,sim",
        "train a student that a flow teacher rewards and regularises",
    ),
    "train fmer": (
        "odeploy_train.off_policy.fmer_run",
        "train,sim",
        "train a flow policy by FMER on the task's reward",
    ),
    "train sac": (
        "odeploy_train.off_policy.sac",
        "train,sim",
        "train a Gaussian MLP policy by SAC on the task's reward",
    ),
    "train qvpo": (
        "odeploy_train.diffusion_rl.qvpo",
        "train,sim",
        "train a diffusion policy by QVPO on the task's reward",
    ),
    "train dipo": (
        "odeploy_train.diffusion_rl.dipo",
        "train,sim",
        "train a diffusion policy by DIPO on the task's reward",
    ),
    "train dpmd": (
        "odeploy_train.diffusion_rl.dpmd",
        "train,sim",
        "train a diffusion policy by DPMD on the task's reward",
    ),
    "train expert": (
        "odeploy_train.experts.sb3_expert",
        "train,sim",
        "train a task's expert by reinforcement learning",
    ),
    "sweep": (
        "odeploy_train.sweeps.scheduler",
        "train,sim,sweep,export,cpu",
        "run methods × tasks × seeds, resumably",
    ),
    "table": (
        "odeploy_train.sweeps.table",
        "train,sim,sweep,report",
        "print sweeps' results and draw their curves",
    ),
    "figures fpo": (
        "odeploy_train.figures.cli:fpo",
        "train,sim,report",
        "draw what FPO does at the grid world's saddle",
    ),
    "figures goals": (
        "odeploy_train.figures.cli:goals",
        "train,sim,report",
        "draw at which of four goals episodes end",
    ),
    "figures fmer": (
        "odeploy_train.figures.cli:fmer",
        "train,sim,report",
        "draw how FMER's policy evolves among four goals",
    ),
    "export": (
        "odeploy_export.pipeline",
        "export,sim,cpu",
        "turn a trained policy, ours or anybody's, into one file",
    ),
    "samplers": (
        "odeploy_export.samplers.search",
        "export,sim,cpu",
        "score and time noise, steps and solvers: which to deploy",
    ),
    "inspect": ("odeploy_runtime.cli.inspect", "cpu", "print what a policy file says of itself"),
    "verify": (
        "odeploy_runtime.cli.verify",
        "cpu",
        "prove a policy file: golden rows, full gate, doctor on its task",
    ),
    "diff": ("odeploy_export.cli.diff", "export,sim,cpu", "compare two policy files: manifest, graph, answers"),
    "keys": (
        "odeploy_runtime.cli.keys",
        "cpu",
        "make a pair of keys: for the wire, or with --sign for policy files",
    ),
    "serve": ("odeploy_runtime.cli.serve", "cpu", "serve a policy file's actions over ZeroMQ"),
    "swap": ("odeploy_runtime.cli.hot_swap:swap", "cpu", "exchange a running server's policy between two ticks"),
    "rollback": ("odeploy_runtime.cli.hot_swap:rollback", "cpu", "serve the policy again that was served before"),
    "shadow": (
        "odeploy_runtime.cli.hot_swap:shadow",
        "cpu",
        "run a second policy beside the served one; it moves nothing",
    ),
    "health": ("odeploy_runtime.cli.health", "cpu", "ask a server how it is; status 0 if it is ready"),
    "sim": ("odeploy_sim.simulated_robot.run", "sim", "drive a simulated robot from a server"),
    "operate": (
        "odeploy_runtime.safety.operator_panel",
        "cpu",
        "stop a robot on this machine, hold its dead-man switch, re-arm it",
    ),
    "replay": ("odeploy_runtime.cli.replay", "cpu", "ask a policy file again what a recorded run asked"),
    "film": ("odeploy_sim.simulated_robot.film", "sim", "render a trace as a video"),
    "bench": ("odeploy_sim.bench.run", "sim,cpu", "measure files × rates: return, latency, misses, floors"),
    "report": ("odeploy_runtime.reports.html", "report", "draw a bench's results as one HTML page"),
}


def main() -> NoReturn:
    """Runs the chosen verb and exits with its status."""
    arguments = sys.argv[1:]
    verb = next((v for v in (" ".join(arguments[:2]), *arguments[:1]) if v in VERBS), None)
    if verb is None:
        asked_for_help = not arguments or arguments[0] in ("-h", "--help")
        print(_help(" ".join(arguments)), file=sys.stdout if asked_for_help else sys.stderr)
        sys.exit(0 if asked_for_help else 2)
    module, extra, _ = VERBS[verb]
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupt)
    os.environ["PYTHONSAFEPATH"] = "1"  # pools of worker processes: what lies in the working directory is data
    try:
        name, _, function = module.partition(":")
        getattr(importlib.import_module(name), function or "main")(arguments[len(verb.split()) :])
    except OdeployError as error:
        _say(f"odeploy {verb}: {error}")
        sys.exit(2)
    except KeyboardInterrupt:
        _say(f"odeploy {verb}: interrupted")
        sys.exit(130)
    except ModuleNotFoundError as error:
        package, _, module_inside = (error.name or "").partition(".")
        if module_inside and package.startswith("odeploy_"):
            raise  # a module of ours that should be there; a whole package may be left out, as on a robot
        _say(f"odeploy {verb}: the package {error.name} is missing; run: pip install 'odeploy[{extra}]'")
        sys.exit(2)
    sys.exit(0)


def _help(asked: str) -> str:
    first = (
        [] if not asked or asked in ("-h", "--help") else [f"odeploy: no verb '{asked}'; choose one of these", ""]
    )
    rows = [f"  {verb:15}{what}" for verb, (_, _, what) in VERBS.items()]
    return "\n".join([*first, "usage: odeploy VERB ...   (odeploy VERB --help for its options)", "", *rows])


def _interrupt(_signum: int, _frame: FrameType | None) -> None:
    # Once is enough: what follows is bounded in time, and must not be cut in the middle.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)  # noqa: T201
