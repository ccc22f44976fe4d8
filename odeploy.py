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

from runtime.errors import OdeployError

# verb -> (module with `main(arguments)` or `module:function`, extra beyond the runtime, what it does)
VERBS = {
    "tasks": ("sim_bridge.tasks", "sim", "list the catalogued tasks, or one task's signals"),
    "collect": ("sim_bridge.collect", "sim", "record an expert's episodes as a Minari dataset"),
    "demos show": ("sim_bridge.demos", "sim,report", "print a demonstration set's card, draw its episodes"),
    "score": ("sim_bridge.score", "sim,cpu", "score tasks' experts, or a policy file, in lockstep"),
    "train fm-bc": ("train.fm_bc", "train,sim", "train a flow-matching behaviour-cloning teacher"),
    "train bc": ("train.bc", "train,sim", "clone behaviour with an MLP, the plainest baseline"),
    "train gru-bc": ("train.gru_bc", "train,sim", "clone behaviour with a GRU, which keeps a state over ticks"),
    "train dp": ("train.dp", "train,sim", "train a diffusion policy with state input"),
    "train distill": ("train.distill", "train,sim", "distil a teacher into a small MLP student"),
    "train ppo": ("train.gaussian_ppo", "train,sim", "train a Gaussian MLP policy by PPO on the task's reward"),
    "train fpo": ("train.fpo_run", "train,sim", "train a flow policy by FPO on the task's reward"),
    "train fpo++": ("train.fpo_plus_plus_run", "train,sim", "train a flow policy by FPO++ on the task's reward"),
    "train dppo": ("train.dppo", "train,sim", "train a flow policy by PPO on its denoising steps"),
    "train fm-ppo": ("train.fm_ppo", "train,sim", "train a flow policy by PPO on its density"),
    "train fm-a2c": ("train.fm_a2c", "train,sim", "train a flow policy by a critic's gradient through its solver"),
    "train gail": ("train.imitation:gail", "train,sim", "train by adversarial imitation: GAIL"),
    "train airl": ("train.imitation:airl", "train,sim", "train by adversarial imitation: AIRL"),
    "train wail": ("train.imitation:wail", "train,sim", "train by adversarial imitation: WAIL"),
    "train vail": ("train.imitation:vail", "train,sim", "train by adversarial imitation: VAIL"),
    "train drail": ("train.imitation:drail", "train,sim", "train by adversarial imitation: DRAIL"),
    "train fm-irl": ("train.fm_irl", "train,sim", "train a student that a flow teacher rewards and regularises"),
    "train fmer": ("train.fmer_run", "train,sim", "train a flow policy by FMER on the task's reward"),
    "train sac": ("train.sac", "train,sim", "train a Gaussian MLP policy by SAC on the task's reward"),
    "train qvpo": ("train.qvpo", "train,sim", "train a diffusion policy by QVPO on the task's reward"),
    "train dipo": ("train.dipo", "train,sim", "train a diffusion policy by DIPO on the task's reward"),
    "train dpmd": ("train.dpmd", "train,sim", "train a diffusion policy by DPMD on the task's reward"),
    "train expert": ("train.experts", "train,sim", "train a task's expert by reinforcement learning"),
    "sweep": ("train.sweep", "train,sim,sweep,export,cpu", "run methods × tasks × seeds, resumably"),
    "table": ("train.sweep_table", "train,sim,sweep,report", "print sweeps' results and draw their curves"),
    "figures fpo": ("train.figures:fpo", "train,sim,report", "draw what FPO does at the grid world's saddle"),
    "figures goals": ("train.figures:goals", "train,sim,report", "draw at which of four goals episodes end"),
    "figures fmer": ("train.figures:fmer", "train,sim,report", "draw how FMER's policy evolves among four goals"),
    "export": ("export.export", "export,sim,cpu", "turn a trained policy, ours or anybody's, into one file"),
    "samplers": ("export.samplers", "export,sim,cpu", "score and time noise, steps and solvers: which to deploy"),
    "inspect": ("runtime.inspect", "cpu", "print what a policy file says of itself"),
    "verify": ("runtime.verify", "cpu", "prove a policy file: golden rows, full gate, doctor on its task"),
    "diff": ("export.diff", "export,sim,cpu", "compare two policy files: manifest, graph, answers"),
    "keys": ("runtime.new_keys", "cpu", "make a pair of keys: for the wire, or with --sign for policy files"),
    "serve": ("runtime.serve", "cpu", "serve a policy file's actions over ZeroMQ"),
    "swap": ("runtime.operations:swap", "cpu", "exchange a running server's policy between two ticks"),
    "rollback": ("runtime.operations:rollback", "cpu", "serve the policy again that was served before"),
    "shadow": ("runtime.operations:shadow", "cpu", "run a second policy beside the served one; it moves nothing"),
    "health": ("runtime.health", "cpu", "ask a server how it is; status 0 if it is ready"),
    "sim": ("sim_bridge.sim", "sim", "drive a simulated robot from a server"),
    "operate": ("runtime.panel", "cpu", "stop a robot on this machine, hold its dead-man switch, re-arm it"),
    "replay": ("runtime.replay", "cpu", "ask a policy file again what a recorded run asked"),
    "film": ("sim_bridge.film", "sim", "render a trace as a video"),
    "bench": ("sim_bridge.bench", "sim,cpu", "measure files × rates: return, latency, misses, floors"),
    "report": ("runtime.report", "report", "draw a bench's results as one HTML page"),
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
        if module_inside and package in ("runtime", "sim_bridge", "train", "export"):
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


if __name__ == "__main__":
    main()
