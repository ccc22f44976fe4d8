"""The table of verbs: module, extra and summary of each `odeploy VERB`, in groups."""

from typing import NamedTuple


class Verb(NamedTuple):
    """Where a verb is implemented and what it needs."""

    module: str
    """Module with `main(arguments)`, or `module:function`."""
    extra: str
    """Extras of the distribution that it needs beyond the runtime, comma separated."""
    summary: str
    """What it does, in one line of `odeploy --help`."""


GROUPS: dict[str, dict[str, Verb]] = {
    "start here": {
        "tasks": Verb("odeploy_sim.cli.tasks", "sim", "list the catalogued tasks, or one task's signals"),
        "tasks new": Verb("odeploy_sim.cli.tasks:main_new", "sim", "write a task as a file to edit"),
        "collect": Verb("odeploy_sim.cli.collect", "sim", "record an expert's episodes as a Minari dataset"),
        "demos show": Verb(
            "odeploy_sim.cli.demos", "sim,report", "print a demonstration set's card and draw its episodes"
        ),
        "score": Verb("odeploy_sim.cli.score", "sim,cpu", "score experts or a policy file in lockstep"),
    },
    "train": {
        "train fm-bc": Verb(
            "odeploy_train.behaviour_cloning.fm_bc", "train,sim", "train a flow-matching behaviour-cloning teacher"
        ),
        "train bc": Verb(
            "odeploy_train.behaviour_cloning.bc",
            "train,sim",
            "train an MLP by behaviour cloning, the plain baseline",
        ),
        "train gru-bc": Verb(
            "odeploy_train.behaviour_cloning.gru_bc",
            "train,sim",
            "train a GRU by behaviour cloning; its state persists between ticks",
        ),
        "train dp": Verb(
            "odeploy_train.behaviour_cloning.dp", "train,sim", "train a diffusion policy with state input"
        ),
        "train distill": Verb(
            "odeploy_train.behaviour_cloning.distill", "train,sim", "distill a teacher into a small MLP student"
        ),
        "train ppo": Verb(
            "odeploy_train.on_policy.gaussian_ppo",
            "train,sim",
            "train a Gaussian MLP policy by PPO on the task's reward",
        ),
        "train fpo": Verb(
            "odeploy_train.flow_rl.fpo_run", "train,sim", "train a flow policy by FPO on the task's reward"
        ),
        "train fpo++": Verb(
            "odeploy_train.flow_rl.fpo_run:main_plus_plus",
            "train,sim",
            "train a flow policy by FPO++ on the task's reward",
        ),
        "train dppo": Verb(
            "odeploy_train.flow_rl.dppo", "train,sim", "train a flow policy by PPO on its denoising steps"
        ),
        "train fm-ppo": Verb(
            "odeploy_train.flow_rl.fm_ppo", "train,sim", "train a flow policy by PPO on its density"
        ),
        "train fm-a2c": Verb(
            "odeploy_train.flow_rl.fm_a2c",
            "train,sim",
            "train a flow policy by the critic's gradient through its solver",
        ),
        "train gail": Verb(
            "odeploy_train.inverse_rl.imitation:gail", "train,sim", "train by adversarial imitation: GAIL"
        ),
        "train airl": Verb(
            "odeploy_train.inverse_rl.imitation:airl", "train,sim", "train by adversarial imitation: AIRL"
        ),
        "train wail": Verb(
            "odeploy_train.inverse_rl.imitation:wail", "train,sim", "train by adversarial imitation: WAIL"
        ),
        "train vail": Verb(
            "odeploy_train.inverse_rl.imitation:vail", "train,sim", "train by adversarial imitation: VAIL"
        ),
        "train drail": Verb(
            "odeploy_train.inverse_rl.imitation:drail", "train,sim", "train by adversarial imitation: DRAIL"
        ),
        "train fm-irl": Verb(
            "odeploy_train.inverse_rl.fm_irl",
            "train,sim",
            "train a student with a flow teacher as reward and regulariser",
        ),
        "train fmer": Verb(
            "odeploy_train.off_policy.fmer_run", "train,sim", "train a flow policy by FMER on the task's reward"
        ),
        "train sac": Verb(
            "odeploy_train.off_policy.sac", "train,sim", "train a Gaussian MLP policy by SAC on the task's reward"
        ),
        "train qvpo": Verb(
            "odeploy_train.diffusion_rl.qvpo", "train,sim", "train a diffusion policy by QVPO on the task's reward"
        ),
        "train dipo": Verb(
            "odeploy_train.diffusion_rl.dipo", "train,sim", "train a diffusion policy by DIPO on the task's reward"
        ),
        "train dpmd": Verb(
            "odeploy_train.diffusion_rl.dpmd", "train,sim", "train a diffusion policy by DPMD on the task's reward"
        ),
        "train expert": Verb(
            "odeploy_train.experts.sb3_expert",
            "train,sim",
            "train an expert on any task by reinforcement learning",
        ),
        "sweep": Verb(
            "odeploy_train.sweeps.scheduler",
            "train,sim,sweep,export,cpu",
            "run methods × tasks × seeds, resumable",
        ),
        "table": Verb(
            "odeploy_train.sweeps.table", "sim,report", "print the results of sweeps and draw their curves"
        ),
        "figures fpo": Verb(
            "odeploy_train.figures.cli:fpo", "train,sim,report", "draw FPO at the saddle of the grid world"
        ),
        "figures goals": Verb(
            "odeploy_train.figures.cli:goals", "train,sim,report", "draw which of four goals episodes end at"
        ),
        "figures fmer": Verb(
            "odeploy_train.figures.cli:fmer", "train,sim,report", "draw how FMER's policy evolves among four goals"
        ),
    },
    "export": {
        "export": Verb(
            "odeploy_export.cli.export",
            "export,sim,cpu",
            "export a trained policy, from any library, to one ONNX file",
        ),
        "samplers": Verb(
            "odeploy_export.cli.samplers",
            "export,sim,cpu",
            "score and time noise, steps and solvers of a policy before you deploy it",
        ),
        "inspect": Verb("odeploy_runtime.cli.inspect", "cpu", "print the contents of a policy file"),
        "verify": Verb(
            "odeploy_runtime.cli.verify",
            "cpu",
            "verify a policy file: golden rows, parity check, doctor on its task",
        ),
        "diff": Verb(
            "odeploy_export.cli.diff", "export,sim,cpu", "compare two policy files: manifest, graph, outputs"
        ),
    },
    "deploy": {
        "serve": Verb("odeploy_runtime.cli.serve", "cpu", "serve a policy file over ZeroMQ"),
        "sim": Verb("odeploy_sim.cli.sim", "sim", "drive a simulated robot from a server"),
        "swap": Verb(
            "odeploy_runtime.cli.hot_swap:swap", "cpu", "replace the policy of a running server between two ticks"
        ),
        "rollback": Verb("odeploy_runtime.cli.hot_swap:rollback", "cpu", "serve the previous policy again"),
        "shadow": Verb(
            "odeploy_runtime.cli.hot_swap:shadow",
            "cpu",
            "run a second policy beside the served one without applying its actions",
        ),
        "health": Verb(
            "odeploy_runtime.cli.health", "cpu", "print a server's health; exit status 0 if it is ready"
        ),
        "operate": Verb(
            "odeploy_runtime.cli.operate",
            "cpu",
            "stop or re-arm a robot on this machine, or hold its dead-man switch",
        ),
        "keys": Verb(
            "odeploy_runtime.cli.keys", "cpu", "create a key pair for the wire, or for signing with --sign"
        ),
    },
    "measure": {
        "bench": Verb(
            "odeploy_sim.cli.bench", "sim,cpu", "measure files × rates: return, latency, misses, lower bounds"
        ),
        "report": Verb("odeploy_runtime.cli.report", "report", "draw a bench's results as one HTML page"),
        "replay": Verb(
            "odeploy_runtime.cli.replay", "cpu", "run a policy file again on the observations of a recorded run"
        ),
        "film": Verb("odeploy_sim.cli.film", "sim", "render a trace as a video"),
    },
}
"""Group of `odeploy --help` -> its verbs."""

VERBS = {name: verb for group in GROUPS.values() for name, verb in group.items()}
"""All verbs by name."""
