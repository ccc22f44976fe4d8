"""Hand-made results of a bench: one tick that took 9 ns, or a trace of one's own."""

from typing import Any

from odeploy_runtime.reports.bench_results import BenchResults, BenchRow
from odeploy_runtime.reports.latency import summary
from odeploy_runtime.reports.statistics import percentiles_us
from odeploy_runtime.trace.format import APPLIED, Trace
from tests.unit.runtime import traces

TRIPS = percentiles_us(traces.rows({"age_ns": 1000})["age_ns"])
FLOORS = {floor: dict.fromkeys(("touched", "bare"), TRIPS) for floor in ("session", "echo")}
STAMPS = {"due": 1, "woke": 2, "sent": 3, "started": 4, "inferred": 6, "arrived": 9, "applied": 10}


def row(of: Trace | None = None, **changes: Any) -> BenchRow:
    """Return the row of a run, by default of one tick."""
    run = of or Trace(traces.header(), traces.rows({"kind": APPLIED, "stamps": STAMPS}))
    fields: dict[str, Any] = {
        "policy": "teacher",
        "method": "fm-bc",
        "sampler": "euler × 2",
        "noise": "normal",
        "file": "teacher.onnx",
        "fingerprint": "f" * 64,
        "provider": "CPUExecutionProvider",
        "trace": "teacher-100hz.trace",
        "obtained": {"timer slack": "1 ns"},
        "steal_s": 0.25,
        "wall_s": 2.5,
        **vars(summary(run)),
    }
    return BenchRow(**(fields | changes))


def results(*rows: BenchRow) -> BenchResults:
    return BenchResults("maze-medium", {"cores": "2"}, 1.0, True, 1, None, None, rows)
