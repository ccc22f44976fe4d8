"""The complete examination of a file."""

from odeploy_runtime.policy_file.file import read
from odeploy_runtime.realtime.clock import MonotonicClock
from odeploy_sim.catalogue.locomotion import HOPPER, WALKER2D
from odeploy_sim.doctor.examine import examine
from odeploy_sim.experts.trained import trained


def test_a_file_with_other_signals_is_not_played() -> None:
    path = trained(HOPPER)
    assert path is not None
    seen = examine(read(path), WALKER2D, 1, 1, MonotonicClock())
    assert seen.facts == ()
    assert {f.check for f in seen.findings if f.severity == "error"} == {"signals"}
