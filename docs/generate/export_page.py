"""docs/reference/export.md: what the parity check measured: `python -m docs.generate.export_page`.

Trains what is not there yet, each by its verb in a process of its own, small; exports every policy by every solver
and noise mode that it has, on every provider that is asked for; keeps the figures in results/gate.json. With
`--page-only` the page is written again from these figures; a test keeps it current.
"""

import json
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
import tyro
from rich.console import Console

from odeploy_export.kinds.table import kind_of
from odeploy_export.options import ParityOptions
from odeploy_export.pipeline import export_policy
from odeploy_export.sources.runs import from_run
from odeploy_export.sources.source import Source
from odeploy_runtime.atomic_file import write_whole
from odeploy_runtime.errors import RelayedError
from odeploy_runtime.realtime.child_process import python_module
from odeploy_runtime.realtime.machine import machine_line
from odeploy_runtime.typed_json import encode

ROOT = Path(__file__).resolve().parents[2]
PAGE, FIGURES = ROOT / "docs" / "reference" / "export.md", ROOT / "results" / "gate.json"

TASK = "maze-medium"
_TASK, _DEMOS = ["--task", TASK], ["--demos", "{runs}/maze-v0"]
_UNSCORED = ["--score-episodes", "0"]
_DIFFUSION = ["--steps", "500", "--start-steps", "200", "--batch", "32"]
TRAININGS: dict[str, list[str]] = {
    "maze-v0": ["collect", TASK, "--episodes", "30", "--quality", "noisy:0.5"],
    "fm-bc": ["train", "fm-bc", *_TASK, *_DEMOS, "--steps", "1000", *_UNSCORED],
    "fm-bc-chunks": ["train", "fm-bc", *_TASK, *_DEMOS, "--horizon", "8", "--steps", "1000", *_UNSCORED],
    "gru-bc": ["train", "gru-bc", *_TASK, *_DEMOS, "--steps", "500", *_UNSCORED],
    "distill": ["train", "distill", "--teacher", "{runs}/fm-bc", *_DEMOS, "--steps", "500", "--rounds", "1"],
    "dp": ["train", "dp", *_TASK, *_DEMOS, "--steps", "1000", *_UNSCORED],
    "fpo": ["train", "fpo", *_TASK, "--steps", "20000", *_UNSCORED],
    "fpo++": ["train", "fpo++", *_TASK, "--steps", "20000", *_UNSCORED],
    "fmer": ["train", "fmer", *_TASK, "--steps", "1500", "--start-steps", "500", *_UNSCORED],
    "qvpo": ["train", "qvpo", *_TASK, *_DIFFUSION, "--candidates", "8", *_UNSCORED],
    "dipo": ["train", "dipo", *_TASK, *_DIFFUSION, *_UNSCORED],
    "dpmd": ["train", "dpmd", *_TASK, *_DIFFUSION, "--choices", "8", "--target-samples", "8", *_UNSCORED],
}
"""Run folder -> the verb that fills it, tiny: weights must have left their initial size, not be any good."""

_INTRODUCTION = """\
# Export

Written by `python -m docs.generate.export_page` from `results/gate.json`; a test keeps it current.

`odeploy export RUN --out FILE` traces the policy, holds the graph against torch, and writes the file only if they
agree. torch answers in float64 and in float32, ONNX Runtime at batches 1, 3 and 8, on recorded, random and edge
observations; on unit scale half of an action's range is 1, and 1e-5 is allowed, or four times what torch's own
float32 is off where that is more, and 1e-3 at most: a steep flow in few steps amplifies what it rounds (2e-5 of
one of hopper's).
The manifest has what was allowed. Of a flow the states after every solver step are held to the same
(`odeploy_export/parity/solver_steps.py`), on the graph that goes into the file.

## Execution providers

`--provider` of `export`, `serve`, `bench` and `verify` takes `cpu`, `cuda`, `tensorrt` or `openvino`. What was
asked for computes all of the graph, in float32, or nothing is served: a provider whose libraries are missing, an
operator left to the CPU and a call made again on the CPU are errors. `export --provider cpu openvino` gates on
each, and the manifest has a parity entry for each; golden rows are held to that of the provider in use. OpenVINO
left alone computes in bf16 where a processor has it, CUDA and TensorRT in TF32.

| provider | comes with | float32 by | run here |
| --- | --- | --- | --- |
| `cpu` | `odeploy[cpu]` | itself | yes |
| `openvino` | `onnxruntime-openvino` instead of `onnxruntime` | `precision=FP32` | yes, without bf16 to avoid |
| `cuda` | `odeploy[gpu]` | `use_tf32=0` | no: there was no GPU |
| `tensorrt` | `odeploy[gpu]` and TensorRT | `NVIDIA_TF32_OVERRIDE=0` in the environment | no: there was no GPU |

## Precision

`--precision fp16` halves weights and products for GPUs; inputs, outputs and limits stay float32. Such a file has a
tolerance of 1e-2 unless `--tolerance` says otherwise, and its provenance says `precision`. On a CPU it gains
nothing: ONNX Runtime casts.

## Closed loop

`--closed-loop EPISODES` lets torch and the file play the same episodes, each on its own answers, and keeps in the
manifest's provenance at which tick they parted by more than 1e-3 and what both achieved.
`python -m odeploy_export.cli.closed_loop FILE --run RUN` does the same with a file that is there.

## Which sampler

`odeploy samplers RUN` answers with which noise, solver and number of steps to deploy a flow, and of a policy with
critics with how many candidates; of a diffusion policy S takes the place of solver and K. Each setting is exported
through the gate, each file plays the same episodes in lockstep, ten side by side, and then all files are timed in
turn, one hot call as a server makes it. The answer is the fastest file whose score is within 2 % of the best.

```
odeploy samplers runs/fpo --files runs/fpo-files --out results.jsonl    # again: times anew, scores what is missing
odeploy samplers runs/fpo --noise zero --steps 1 2 5 10 20 --solver euler heun --episodes 100 --markdown
odeploy samplers runs/fmer --candidates 1 4 16 32 --noise normal
odeploy samplers runs/euler-5 runs/euler-10 runs/heun-5                  # a grid: training by deployment
```

With several runs a row is a training, named by what sets it apart, and a column a deployment setting; runs that
differ in their seeds alone are one row. That one setting is within 2 % of another over 50 episodes says little
where intervals are wider: they are in the list and in the lines of `--out`. The best of many settings is also a
little lucky; score the chosen file once more under another `--seed` before its figure is quoted.

The critics that taught a run of `qvpo`, `dipo` or `dpmd` lie in its checkpoint. `export --candidates 32` puts them
into the file, which then answers the best of 32 samples, as the authors of QVPO and DPMD score theirs; without the
option it answers one sample.

## Speed

Euler × 10, 3 × 256, batch 1, one thread, each row medians of one interleaved run on an AMD EPYC with two cores:

| the split graph | measured | wanted |
| --- | --- | --- |
| ÷ generic unroll, dynamic batch, t by `full` | 0.63 | 0.70 |
| ÷ generic unroll, constant t | 0.72 | 0.85 |
| ÷ torch eager | 0.09 | 0.12 |
| ÷ torch.compile | 0.21 | 0.35 |
| ÷ the floor of its weights' products | 1.43 | 2.5 |
| best of 16 with twin Q 2 × 256, p50 | 0.67 ms | 0.5 ms |

`pytest -m timing -s tests/timing/test_split_form.py tests/timing/test_flow_speed.py` prints them; of absolute
times single runs differ by a third, of ratios by 0.07. Best of 16 is at the arithmetic of one core
(docs/decisions.md).

## What the gate measured
"""


@dataclass(frozen=True)
class Config:
    """Measures and writes docs/reference/export.md."""

    runs: Path = Path("runs/gate-table")
    """Folder of the training runs; those that are not there yet are trained."""
    provider: tuple[str, ...] = ("cpu",)
    """Execution providers to measure."""
    only: tuple[str, ...] = ()
    """Policies to measure, by their run folders; those of the others stay as they were. All if none is given."""
    page_only: bool = False
    """Write the page again from the figures that are there."""


@dataclass(frozen=True)
class Row:
    """One exported file on one provider.

    Attributes:
        policy: how it was trained, and the actions of a chunk.
        sampler: as tables print it.
        noise: mode.
        provider: ONNX Runtime's name.
        max_error: on unit scale.
        tolerance: that was allowed.
        rows: compared.
    """

    policy: str
    sampler: str
    noise: Literal["none", "zero", "normal"]
    provider: str
    max_error: float
    tolerance: float
    rows: int


def main() -> None:
    """Trains, exports, measures, writes."""
    config, console = tyro.cli(Config, prog="python -m docs.generate.export_page"), Console()
    if not config.page_only:
        torch.set_num_threads(1)
        for name, verb in TRAININGS.items():
            if config.only and name not in config.only:
                continue
            if not (config.runs / name / ("checkpoint.pt" if verb[0] == "train" else "card.json")).exists():
                console.print(f"making {name}", highlight=False)
                _make([part.format(runs=config.runs) for part in verb], config.runs / name)
            if verb[0] == "train":
                console.print(f"gating {name}", highlight=False)
                _keep(measured(from_run(config.runs / name, None), config.provider))
    write_whole(PAGE, page(json.loads(FIGURES.read_text())).encode())
    console.print(f"page: {PAGE}", soft_wrap=True)


def measured(source: Source, providers: tuple[str, ...]) -> list[Row]:
    """Export a policy with every published sampler of its type.

    Raises:
        ParityError: one of them exceeds the tolerance.
    """
    rows, parity = [], ParityOptions(provider=providers)
    with tempfile.TemporaryDirectory(prefix="odeploy-") as folder:
        for sampler in kind_of(source.policy).published:
            manifest = export_policy(source, Path(folder) / "policy.onnx", sampler, parity)
            actions = f", {manifest.horizon} actions" if manifest.horizon > 1 else ""
            label = f"{source.method}{actions}", manifest.sampler_label, manifest.noise.mode
            rows += [Row(*label, p.provider, p.max_error, p.tolerance, p.rows) for p in manifest.parity]
    return rows


def page(figures: Mapping[str, Any]) -> str:
    """The whole page, from what `main` kept."""
    lines = [_INTRODUCTION, f"Trained weights, {TASK}, on {figures['machine']}.", ""]
    head = "policy", "sampler", "noise", "provider", "max error", "tolerance", "rows"
    lines += _table(head, [_cells(row) for row in figures["rows"]])
    return "\n".join(lines) + "\n"


def _cells(row: Mapping[str, Any]) -> tuple[str, ...]:
    first = row["policy"], row["sampler"], row["noise"], row["provider"].removesuffix("ExecutionProvider")
    return (*first, f"{row['max_error']:.1e}", f"{row['tolerance']:g}", str(row["rows"]))


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return [f"| {' | '.join(cells)} |" for cells in (head, ["---"] * len(head), *rows)]


def _keep(rows: list[Row]) -> None:
    """Puts a policy's rows in the place of its earlier ones."""
    kept = json.loads(FIGURES.read_text())["rows"] if FIGURES.is_file() else []
    kept = [row for row in kept if row["policy"] != rows[0].policy] + encode(rows)
    figures = {"machine": machine_line(), "rows": kept}
    write_whole(FIGURES, (json.dumps(figures, indent=1) + "\n").encode())


def _make(verb: list[str], out: Path) -> None:
    command = python_module("odeploy", *verb, "--out", str(out))
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode != 0:
        raise RelayedError((result.stderr.strip().splitlines() or ["a training ended without a message"])[-1])


if __name__ == "__main__":
    main()
