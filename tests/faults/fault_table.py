"""The faults that odeploy promises to survive, and the page that says what became of each when it was tried.

A test names its rows by `@pytest.mark.fault(3, 7)` and leaves figures by `record_property(name, value)`. The page
is written by `make reliability`, from what the tests of that very run did; a row without a test says so.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

Record = Callable[[str, object], None]
"""What pytest's `record_property` is."""

# number -> (fault, what is promised); T is the control period
FAULTS = {
    1: ("server killed in an episode", "HOLD at the first miss, SAFE in time, nothing stale applied, then back"),
    2: ("robot killed", "its session is free after 1 s, other robots notice nothing"),
    3: (
        "server stopped for 50 ms, 300 ms, 5 s",
        "late replies known by number, dropped; RUN again if not yet SAFE",
    ),
    4: ("robot overruns, or is stopped", "ticks skipped and counted, none replayed"),
    5: ("replies lost, doubled, reordered, delayed", "applied at most once, only if newer and younger than 2 T"),
    6: ("outage with requests under way", "no stale request executed"),
    7: (
        "NaN or Inf in observation or action",
        "reaches no actuator; the signal named; SAFE after 3 in a row",
    ),
    8: ("action out of limits or too fast", "clamped and counted; SAFE after 10 in a row"),
    9: ("observation far outside of what was trained on", "flagged by signal; refused where asked for"),
    10: ("wrong version, names, task, shape", "a typed refusal; the connection lives; no traceback"),
    11: ("oversize, garbage, broken ZMTP, half-open connections, mutations", "no crash, no hang, memory flat"),
    12: ("wrong or no key", "silence, and a line in the log; no open bind without keys"),
    13: ("two robots of one name", "the second is refused, the first unaffected"),
    14: ("a flooding robot; a thousand robots", "others are still answered; memory below 200 MB"),
    15: ("swap to a good file, rollback", "switched between ticks; each action belongs to one fingerprint"),
    16: ("swap to a wrong or corrupt file", "refused; the old one serves on"),
    17: ("external data, path traversal in a file", "refused before ONNX Runtime sees it"),
    18: (
        "trace's disk full, its process killed",
        "ticks unchanged, losses counted, what is there readable",
    ),
    19: ("robot killed while it traces", "all rows up to the last second readable"),
    20: ("wall clock jumps by an hour", "no effect"),
    21: ("processor hogs on all cores", "misses counted, safety holds"),
    22: ("no privileges", "runs, and says what it got"),
    23: ("SIGINT, SIGTERM, twice", "safe action commanded, trace closed, soon gone"),
    24: ("simulation reset or broken", "noticed, the episode marked invalid"),
}
_HEAD = """# Reliability

What odeploy promises when something breaks, and what happened when it was broken on purpose. Each row is tried
with real processes, sockets and signals by tests in `tests/faults/` and its neighbours. This page is written by

```
make reliability
```

from one run of those tests, on {machine}. Figures are of that run, beside whatever the machine did else; they
are no promise. *T* is the control period.

| # | fault | promised | observed | figures |
| --- | --- | --- | --- | --- |
"""


@dataclass
class Observed:
    """What the tests of one row did."""

    passed: int = 0
    failed: list[str] = field(default_factory=list)
    figures: dict[str, list[str]] = field(default_factory=dict)

    def see(self, test: str, passed: bool, figures: Iterable[tuple[str, object]]) -> None:
        """Takes in one test's end."""
        self.passed += passed
        if not passed:
            self.failed.append(test)
        for name, value in figures:
            self.figures.setdefault(name, []).append(str(value))

    def __str__(self) -> str:
        if self.failed:
            return f"**failed**: {', '.join(self.failed)}"
        return f"as promised ({self.passed} test{'s' * (self.passed > 1)})" if self.passed else "not tried"


def page(observed: dict[int, Observed], machine: str) -> str:
    """The page, Markdown."""
    lines = [_HEAD.format(machine=machine)]
    for number, (fault, promise) in FAULTS.items():
        seen = observed.get(number, Observed())
        figures = "; ".join(f"{name} {', '.join(values)}" for name, values in seen.figures.items())
        lines.append(f"| {number} | {fault} | {promise} | {seen} | {figures or '–'} |\n")
    return "".join(lines)
