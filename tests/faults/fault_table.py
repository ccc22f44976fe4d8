"""The faults that odeploy promises to survive, and the page with the result of each.

A test names its rows with `@pytest.mark.fault(3, 7)` and adds figures with `record_property(name, value)`.
`make reliability` writes the page from one run of the tests; a row without a test reads "not tried".
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

Record = Callable[[str, object], None]
"""Type of pytest's `record_property`."""

# number -> (fault, promise); T is the control period
FAULTS = {
    1: (
        "server killed in an episode",
        "HOLD at the first miss, SAFE in time, nothing stale applied, then RUN again",
    ),
    2: ("robot killed", "its session is free after 1 s, other robots are not affected"),
    3: (
        "server stopped for 50 ms, 300 ms, 5 s",
        "late replies recognised by number and dropped; RUN again if not yet SAFE",
    ),
    4: ("robot overruns, or is stopped", "ticks skipped and counted, none replayed"),
    5: (
        "replies lost, duplicated, reordered, delayed",
        "applied at most once, only if newer and younger than 2 T",
    ),
    6: ("outage with requests in flight", "no stale request executed"),
    7: (
        "NaN or Inf in observation or action",
        "reaches no actuator; the signal is named; SAFE after 3 in a row",
    ),
    8: ("action out of limits or too fast", "clamped and counted; SAFE after 10 in a row"),
    9: ("observation out of the training data's range", "flagged by signal; with `--refuse-far` rejected"),
    10: ("wrong version, names, task, shape", "a typed refusal; the connection stays open; no traceback"),
    11: ("oversize, garbage, broken ZMTP, half-open connections, mutations", "no crash, no hang, constant memory"),
    12: ("wrong or no key", "no reply, one line in the log; no open bind without keys"),
    13: ("two robots with the same name", "the second is refused, the first is not affected"),
    14: ("a flooding robot; a thousand robots", "others are still answered; memory below 200 MB"),
    15: ("swap to a good file, rollback", "switched between two ticks; each action belongs to one fingerprint"),
    16: ("swap to a wrong or corrupt file", "refused; the old policy stays in service"),
    17: ("external data, path traversal in a file", "refused before ONNX Runtime reads it"),
    18: (
        "disk full, the trace's writer process killed",
        "ticks unchanged, losses counted, written rows readable",
    ),
    19: ("robot killed while it writes a trace", "all rows up to the last second readable"),
    20: ("wall clock jumps by an hour", "no effect"),
    21: ("busy processes on all cores", "misses counted, every command safe"),
    22: ("no privileges", "runs, and reports what it obtained"),
    23: ("SIGINT, SIGTERM, twice", "safe action commanded, trace closed, quick end"),
    24: ("simulation reset or broken", "detected, the episode marked invalid"),
    25: ("a command interrupted or killed with its children", "no process and no temporary folder remains"),
    26: (
        "a policy file whose graph does not end",
        "refused with one line at the time limit; signals end the wait",
    ),
    27: (
        "an inference that does not end",
        "the server exits with 70 after 2 s, or 0.5 s after SIGTERM; a stopped process does not",
    ),
    28: ("streams beyond capacity", "refused with both figures; a robot beside them misses no more than before"),
    29: ("more connections than descriptors", "new ones wait; connected robots are served"),
    31: ("rollback or `swap --abort` beside a swap that hangs", "the swap ends; no waiting behind it"),
    32: ("swap to a file that moves the robot in another way", "refused with the difference, unless allowed"),
    33: (
        "`--http`: reset connections, its process killed",
        "no log line for a reset; the process is started again",
    ),
    34: (
        "names with escapes or markup in files and messages",
        "printed as they are; the terminal is not controlled",
    ),
    35: ("stdout or stderr on a full device", "one line, no traceback"),
    36: ("a pipe, a device, a folder, a file of 100 GB instead of a FILE", "refused in one line, unread"),
    37: ("telemetry of ONNX Runtime", "no look-up, no socket of the network, no file outside its folder"),
    38: ("an endpoint that is a file, a used or impossible address", "refused; nothing is replaced or deleted"),
    39: ("keys, datasets or results on a full or read-only disk", "one line, nothing half written, a retry works"),
    40: ("robot and server with different clocks", "one log line; the stages of the wire are left out"),
    41: (
        "local lane: mutated frames, a flood, 2,000 connections; its file deleted or replaced",
        "other robots are answered; memory constant; connected robots stay, new ones take ZeroMQ",
    ),
}
_HEAD = """# Reliability

For operators. This page lists what odeploy promises when something breaks, and what the tests observed when
they broke it. Tests in
`tests/faults/` and neighbouring folders cause each fault with real processes, sockets and signals.

```
make reliability
```

writes this page from one run of those tests, here on {machine}.
Figures are from that run, on a machine with other work; they are no promise. *T* is the control period.

| # | fault | promised | observed | figures |
| --- | --- | --- | --- | --- |
"""


@dataclass
class Observed:
    """Results of one row's tests."""

    passed: int = 0
    failed: list[str] = field(default_factory=list)
    figures: dict[str, list[str]] = field(default_factory=dict)

    def add(self, test: str, passed: bool, figures: Iterable[tuple[str, object]]) -> None:
        """Add one test's result."""
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
    """Return the page in Markdown."""
    lines = [_HEAD.format(machine=machine)]
    for number, (fault, promise) in FAULTS.items():
        result = observed.get(number, Observed())
        figures = "; ".join(f"{name} {', '.join(values)}" for name, values in result.figures.items())
        lines.append(f"| {number} | {fault} | {promise} | {result} | {figures or '–'} |\n")
    return "".join(lines)
