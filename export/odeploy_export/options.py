"""The options of an export: what the command line takes, and how a graph gets from noise to action."""

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Literal

import tyro

from odeploy_export.graphs.rewrites import Precision
from odeploy_export.parity.gate import Exportable
from odeploy_runtime.errors import UsageError
from odeploy_runtime.policy_file.manifest import ANCESTRAL, Noise, Sampler
from odeploy_train.modules.ode import solver, uniform_grid
from odeploy_train.policies.best_of_diffusion import BestOfDiffusion
from odeploy_train.policies.best_of_n import DEPLOYED_CANDIDATES, BestOfN
from odeploy_train.policies.diffusion import DEPLOYED_STEPS, DiffusionPolicy
from odeploy_train.policies.flow import FlowPolicy


@dataclass(frozen=True, kw_only=True)
class SamplingOptions:
    """The options of a generative policy's sampler; None is what is usual for its kind."""

    solver: str | None = None
    """Of a flow: `euler`, `midpoint`, `heun` or `rk4` (euler if not given)."""
    steps: int | None = None
    """Of a flow: K, solver steps from noise to action (10 if not given). Of a diffusion policy: S, the steps of
    its training that the sampler visits (100, or all if there are fewer)."""
    t_grid: str | None = None
    """Of a flow, instead of equal steps: its K + 1 times from 0 to 1, separated by commas."""
    candidates: int | None = None
    """Of a policy with critics: N, actions that are drawn, of which the best is taken (16 of a flow if not given,
    1 of a diffusion policy, which is what its training scores; the authors of QVPO and DPMD score 32)."""
    noise: Literal["zero", "normal"] | None = None
    """Of a flow or a diffusion policy: all draws are zeros, the one deterministic answer, or N(0, I) (normal if
    not given)."""


@dataclass(frozen=True)
class Config(SamplingOptions):
    """Exports a trained policy as one ONNX policy file, if torch and ONNX agree."""

    trained: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="RUN|MODEL")]
    """Folder of a training run; with `--from sb3` the zip that model.save wrote, with `torchscript` and `onnx` the
    file, with `module` path.py:Class, or path.py:function that returns a module."""
    out: Path
    """The policy file to write."""
    source: Annotated[Literal["run", "sb3", "module", "torchscript", "onnx"], tyro.conf.arg(name="from")] = "run"
    """Who made it: `run` is odeploy, `sb3` is stable-baselines3 or sb3-contrib. The others are anybody's policy of
    raw observations (B, O) to actions (B, A) or (B, H, A): a torch `module`, whose Python file is run; a
    `torchscript` archive, whose program is run; a bare `onnx` file."""
    task: str | None = None
    """Of all but a run, which knows its own: the catalogued task that it was trained on."""
    weights: Path | None = None
    """Of a module: its state dict, by torch.save or as .safetensors; none if the code gives trained weights."""
    noise_size: int | None = None
    """Of a module or a torchscript archive whose second input is noise (B, D): D."""
    normaliser: Path | None = None
    """Of an sb3 model: its VecNormalize, as normaliser.npz or pickled; the one beside the model if not given."""
    demos: str | None = None
    """Observations for the gate and the golden rows; if not given, those that a run was trained on, or those
    that a model meets when it plays its task."""
    name: str | None = None
    """Name of the policy; if not given, the run's folder name, or task and algorithm or file of a model."""
    tolerance: float | None = None
    """Largest error between torch and ONNX, on unit-scale actions. If not given 1e-5, or 1e-2 of fp16, and of a
    policy whose own float32 is off by more than a quarter of that, four times as much as it is."""
    precision: Precision = "f32"
    """Of weights and products; `fp16` is for GPUs. Inputs and outputs are float32 in any case."""
    provider: tuple[str, ...] = ("cpu",)
    """Execution providers that it must agree on: `cpu`, `cuda`, `tensorrt`, `openvino`, as many as this machine
    has. The manifest says what each measured."""
    frozen: int | None = None
    """Of a flow of chunks: d, for real-time chunking. A new chunk goes on from the one before, and its first d
    actions, which are played while it is computed, are those; for `sim --ahead`."""
    closed_loop: int = 0
    """Episodes of its task that torch and the file play against each other; the manifest keeps what came of it."""
    actuation: Path | None = None
    """TOML of what is beside the motors (see `toml_files.py`), for the manifest; what the task's own
    robot has if not given."""
    recipe: Path | None = None
    """TOML of how the observation of a module, archive or ONNX file is made of the task's signals: history,
    previous action, clock, operator's command (see `odeploy_export/recipe_option.py`)."""
    sign: Path | None = None
    """Sign the file with this secret key, which `odeploy keys NAME --sign` made."""


def sampling(policy: Exportable, options: SamplingOptions, action_size: int) -> tuple[Sampler | None, Noise]:
    """Sampler and noise contract of a policy, by its kind.

    Raises:
        UsageError: an option that this kind of policy has not, or a value that makes no sense.
    """
    if isinstance(policy, DiffusionPolicy | BestOfDiffusion):
        refuse_given(
            options, ("solver", "t_grid"), "a flow policy", "a diffusion policy, which has no ODE to solve"
        )
        if isinstance(policy, DiffusionPolicy):
            refuse_given(options, ("candidates",), "a policy with critics", "a diffusion policy, which has none")
        candidates = _candidates(options, usual=1)
        levels = policy.proposer.levels if isinstance(policy, BestOfDiffusion) else policy.levels
        steps = min(DEPLOYED_STEPS, levels.steps) if options.steps is None else options.steps
        sampler = Sampler(ANCESTRAL, steps, levels.t_grid(steps), candidates)
        return sampler, Noise(options.noise or "normal", (candidates, steps, action_size))
    if not isinstance(policy, FlowPolicy | BestOfN):
        flow_only = ("solver", "steps", "t_grid", "noise", "candidates")
        refuse_given(options, flow_only, "a flow policy", "one that answers without noise and without an ODE")
        return None, Noise("none")
    if isinstance(policy, FlowPolicy):
        refuse_given(options, ("candidates",), "a policy with critics", "a flow, which has none")
        candidates, flow = 1, policy
    else:
        candidates, flow = _candidates(options, usual=DEPLOYED_CANDIDATES), policy.flow
    tableau, t_grid = solver(options.solver or "euler"), _t_grid(options)
    noise = Noise(options.noise or "normal", (candidates, 1, flow.config.chunk_size))
    return Sampler(tableau.name, len(t_grid) - 1, t_grid, candidates), noise


def refuse_given(options: object, names: tuple[str, ...], expected: str, got: str) -> None:
    """Refuses those of the options that were given, that is, are not None.

    Raises:
        UsageError: the message names them as the command line does.
    """
    given = [f"--{name.replace('_', '-')}" for name in names if getattr(options, name) is not None]
    if given:
        raise UsageError(where=", ".join(given), expected=expected, got=got, remedy="leave the option out")


def _candidates(options: SamplingOptions, usual: int) -> int:
    candidates = usual if options.candidates is None else options.candidates
    if candidates < 1:
        raise UsageError(
            where="--candidates",
            expected="at least 1",
            got=str(candidates),
            remedy="ask for 1 or more",
        )
    if candidates > 1 and options.noise == "zero":
        raise UsageError(
            where="--noise zero",
            expected="1 candidate, since all are the same without noise",
            got=str(candidates),
            remedy="give --candidates 1, or --noise normal",
        )
    return candidates


def _t_grid(options: SamplingOptions) -> tuple[float, ...]:
    """The K + 1 times from noise to action: those that were asked for, or equal steps."""
    if options.t_grid is None:
        return uniform_grid(10 if options.steps is None else options.steps)
    try:
        times = tuple(float(part) for part in options.t_grid.split(","))
    except ValueError:
        times = ()
    rises = all(now < following for now, following in pairwise(times))
    if len(times) < 2 or not rises or (times[0], times[-1]) != (0, 1):
        raise UsageError(
            where="--t-grid",
            expected="times that rise from 0 to 1, separated by commas",
            got=repr(options.t_grid),
            remedy="give for example 0,0.1,0.4,1",
        )
    if options.steps not in (None, len(times) - 1):
        raise UsageError(
            where="--steps",
            expected=f"{len(times) - 1}, as --t-grid has",
            got=str(options.steps),
            remedy="leave one of the two out",
        )
    return times
