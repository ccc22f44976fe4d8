"""A complete server: the log line about its protection. Its parts and processes have their own tests."""

import pytest

from odeploy_runtime.server.run import Access
from odeploy_runtime.transport.keys import KeyPair


@pytest.mark.parametrize(
    ("access", "line"),
    [
        (Access(), "not encrypted: for this machine alone"),
        (Access(endpoint="tcp://*:5", insecure=True), "INSECURE: anyone who reaches tcp://*:5 "),
        (Access(keys=KeyPair(b"", b""), allowed={b"1": "leg", b"2": "arm"}), "encrypted, for 2 keys: arm, leg"),
    ],
)
def test_the_protection_is_one_line(access: Access, line: str) -> None:
    assert access.protection.startswith(line)
