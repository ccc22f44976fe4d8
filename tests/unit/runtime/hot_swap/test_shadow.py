"""The shadow: a separate process that never blocks the server, and is refused or ended like any other."""

import json
import os
import signal
import time
from pathlib import Path

import pytest

from odeploy_runtime.errors import RelayedError
from odeploy_runtime.hot_swap.shadow import Shadow
from odeploy_runtime.transport import messages
from tests.unit.runtime.fakes import floats
from tests.unit.runtime.scaled_policy import scaled_bytes

SENSED = (1.0, 2.0, 3.0)


def answered(seq: int, *action: float) -> tuple[messages.Observation, messages.Action]:
    return (
        messages.Observation(1, 0, seq, 0, floats(*SENSED)),
        messages.Action(1, 0, seq, 1, messages.OK, 0, 0, 0, 0, floats(*action)),
    )


def test_a_shadow_refuses_a_bad_file_compares_actions_drops_excess_ones_and_ends(
    tmp_path: Path,
) -> None:
    with (tmp_path / "out.jsonl").open("ab") as out:
        with pytest.raises(RelayedError, match="golden row 0"):
            Shadow(scaled_bytes(0.5, recorded=0.7), "bad.onnx", "cpu", None, 2, out.fileno())
        shadow = Shadow(scaled_bytes(0.5), "half.onnx", "cpu", None, 2, out.fileno())
        assert shadow.manifest.name == "scale-0.5"
        assert shadow.feed(7, *answered(0, 0.75, 1.0))
        deadline = time.monotonic() + 90
        while shadow.divergence().compared < 1:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        assert shadow.divergence().max == pytest.approx([0.25, 0])
        while not (lines := (tmp_path / "out.jsonl").read_text()):
            assert time.monotonic() < deadline
            shadow.feed(7, *answered(0, 0.75, 1.0))
            time.sleep(0.1)
        assert json.loads(lines.splitlines()[0])["max"] == pytest.approx({"motor_x": 0.25, "motor_y": 0})
        os.kill(shadow._process.pid, signal.SIGSTOP)  # it reads nothing
        assert not all(shadow.feed(7, *answered(seq, 0, 0)) for seq in range(10_000))
        os.kill(shadow._process.pid, signal.SIGCONT)
        shadow.close()
        assert not shadow.feed(7, *answered(0, 0, 0))
