"""The watchdog of a loop, in processes that it ends."""

import subprocess
import sys

import pytest

from odeploy_runtime.realtime.counters import SERVER, Counters
from odeploy_runtime.realtime.watchdog import Watchdog

LOOP = """
import logging, os, signal, sys, time
from odeploy_runtime.realtime import watchdog
from odeploy_runtime.realtime.counters import SERVER, Counters
logging.basicConfig()
signal.signal(signal.SIGUSR1, lambda *_: None)
watchdog._WAKE_S = 0.01
if sys.argv[1] == "signal":
    watchdog._WAKE_UPS = 10**9
counters, turns = Counters(SERVER), 0
with watchdog.Watchdog(lambda: turns, lambda: "observation of 'arm', episode 3, tick 17", lambda: None, counters):
    for turns in range(100):
        time.sleep(0.01)
    if sys.argv[1] == "end":
        sys.exit(0)
    print("turned", flush=True)
    if sys.argv[1] == "signal":
        os.kill(os.getpid(), signal.SIGUSR1)
    while True:
        time.sleep(10)
"""


@pytest.mark.parametrize(("what", "why"), [("stuck", " for 0.2 s: "), ("signal", " for 0.1 s after a signal: ")])
def test_a_loop_that_no_longer_turns_ends_the_process_and_names_the_observation(what: str, why: str) -> None:
    result = subprocess.run([sys.executable, "-c", LOOP, what], capture_output=True, text=True, check=False)
    assert (result.returncode, result.stdout) == (70, "turned\n")
    assert f"{why}observation of 'arm', episode 3, tick 17; exit with 70" in result.stderr


def test_a_loop_that_turns_is_left_alone_and_ends_by_itself() -> None:
    result = subprocess.run([sys.executable, "-c", LOOP, "end"], capture_output=True, text=True, check=False)
    assert (result.returncode, result.stderr) == (0, "")


def test_the_manager_is_told_only_while_the_loop_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("odeploy_runtime.realtime.watchdog._WAKE_S", 0.001)
    monkeypatch.setattr("odeploy_runtime.realtime.watchdog._WAKE_UPS", 10**9)
    told, turns = [], iter(range(25))
    looked = []

    def turn() -> int:
        looked.append(next(turns, 24))
        return looked[-1]

    with Watchdog(turn, lambda: "", lambda: told.append(len(looked)), Counters(SERVER)):
        while len(looked) < 60:
            pass
    assert told == [10, 20]
