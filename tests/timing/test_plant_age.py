"""Age of a hardware arm's sample at the stamp `observed`; `make bench` runs it. Target: 1 ms.

The example's driver samples every half millisecond in a thread of its own.
"""

import contextlib
import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

import odeploy
from odeploy_runtime.realtime.machine import machine_line
from odeploy_runtime.trace.format import SKIPPED, STAMPS
from tests.house.layout import ROOT
from tests.integration.test_examples import example


@pytest.mark.timing
def test_a_sample_is_a_millisecond_old_at_most(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "examples"))
    from hardware_arm import Arm

    sampled_ns: list[int] = []

    class StampedArm(Arm):
        def observe(self) -> NDArray[np.float32]:
            sample = self.driver.sample
            sampled_ns.append(sample[0])
            return np.array(sample[1:], np.float32)

    example("own_module.py", tmp_path / "elbow.onnx")
    with contextlib.closing(StampedArm(ticks=1000)) as arm, odeploy.serving(tmp_path / "elbow.onnx") as endpoint:
        rows = odeploy.read_trace(odeploy.run(arm, endpoint, trace=tmp_path / "arm.trace")).rows
    observed_ns = rows["stamps"][rows["kind"] != SKIPPED, STAMPS.index("observed")]
    ages_us = (observed_ns - np.array(sampled_ns)) / 1e3
    p50, p99 = np.percentile(ages_us, (50, 99))
    print(
        f"\nage at observed: p50 {p50:.0f} µs, p99 {p99:.0f} µs, {len(ages_us)} ticks, {machine_line()}",
        file=sys.stderr,
    )
    assert p50 <= 1000
