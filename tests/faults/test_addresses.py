"""Endpoints that are taken, impossible or chosen by the system."""

import re
import signal
import time
from pathlib import Path

import pytest

from odeploy_sim.catalogue.mazes import MAZE_MEDIUM
from tests.faults.fault_table import Record
from tests.integration.programs import odeploy, started
from tests.policies import policy_path

pytestmark = [pytest.mark.faults, pytest.mark.fault(38)]


def test_an_endpoint_that_is_a_file_is_refused_and_the_file_stays(tmp_path: Path) -> None:
    policy = policy_path(tmp_path, MAZE_MEDIUM)
    before = policy.read_bytes()
    for option in ("--endpoint", "--control"):
        given = f"ipc://{policy}" if option == "--endpoint" else str(policy)
        endpoint = () if option == "--endpoint" else ("--endpoint", f"ipc://{tmp_path}/s")
        refused = odeploy("serve", str(policy), *endpoint, option, given)
        assert refused.returncode == 2
        assert "expected a free path, got a file, which stays as it is" in refused.stderr
    assert policy.read_bytes() == before


@pytest.mark.parametrize("endpoint", ["tcp://127.0.0.1:99999", "inproc://x", "ipc:///tmp/" + "x" * 95])
def test_an_impossible_endpoint_is_refused_in_one_line(endpoint: str, tmp_path: Path) -> None:
    refused = odeploy("serve", str(policy_path(tmp_path, MAZE_MEDIUM)), "--endpoint", endpoint)
    assert refused.returncode == 2
    assert len(refused.stderr.splitlines()) == 1
    assert f"endpoint {endpoint}" in refused.stderr


@pytest.mark.parametrize("endpoint", ["tcp://127.0.0.1:0", "tcp://127.0.0.1:*", "ipc://*", "ipc://{}/s"])
def test_the_log_names_the_address_really_bound(endpoint: str, tmp_path: Path, record_property: Record) -> None:
    policy = policy_path(tmp_path, MAZE_MEDIUM)
    server = started("serve", str(policy), "--endpoint", endpoint.format(tmp_path))
    assert server.stdout is not None
    line = server.stdout.readline()
    bound = re.search(r" at (\S+?);", line)
    assert bound is not None, line
    try:
        assert bound[1][-1].isdigit() or Path(bound[1].removeprefix("ipc://")).is_socket()
        deadline = time.monotonic() + 30
        while odeploy("health", bound[1]).returncode != 0:
            assert time.monotonic() < deadline
    finally:
        server.send_signal(signal.SIGTERM)
        server.communicate(timeout=20)
    assert not Path(bound[1].removeprefix("ipc://")).exists()  # removed at a clean end
    for companion in (".control", ".lane"):
        assert not Path(bound[1].removeprefix("ipc://") + companion).exists()
