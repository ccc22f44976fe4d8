"""Counters: one process counts while another one reads whole numbers."""

import os
import subprocess
import sys

import pytest

from odeploy_runtime.realtime.counters import SERVER, CounterNames, Counters, shareable
from odeploy_runtime.robot.counters import ROBOT

NAMES = CounterNames("test", ("a", "b:one"), ("b:two",))


def test_counters_begin_at_zero_and_can_be_added_to_and_set() -> None:
    counters = Counters(NAMES)
    assert [counters[name] for name in NAMES.all] == [0, 0, 0]
    counters.add("a")
    counters.add("a", 41)
    counters.set("b:two", -(2**63))
    assert [counters[name] for name in NAMES.all] == [42, 0, -(2**63)]


def test_counters_without_shared_memory_are_separate() -> None:
    one, other = Counters(NAMES), Counters(NAMES)
    one.add("a")
    assert other["a"] == 0


def test_another_process_reads_whole_numbers_while_they_change() -> None:
    """All bytes of a number change at each step, so a torn read would give another value."""
    memory = shareable(NAMES)
    counters = Counters(NAMES, memory)
    code = f"""
from odeploy_runtime.realtime.counters import CounterNames, Counters
counters, seen = Counters({NAMES!r}, {memory}), set()
print("ready", flush=True)
while 0 not in seen or -1 not in seen or len(seen) < 2:
    seen.update(counters["b:one"] for _ in range(20_000))
print(sorted(seen))
"""
    with subprocess.Popen([sys.executable, "-c", code], pass_fds=[memory], stdout=subprocess.PIPE) as reader:
        assert reader.stdout is not None
        reader.stdout.readline()
        while reader.poll() is None:
            for _ in range(1000):
                counters.set("b:one", -1)
                counters.set("b:one", 0)
        assert reader.stdout.read() == b"[-1, 0]\n"
    os.close(memory)


@pytest.mark.parametrize("names", [SERVER, ROBOT])
def test_names_are_unique_and_include_those_for_health(names: CounterNames) -> None:
    assert len(set(names.all)) == len(names.all)
    assert {"ready", "turned_ns"} <= set(names.gauges)
