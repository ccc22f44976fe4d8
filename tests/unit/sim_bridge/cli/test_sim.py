"""Contradictory options of `odeploy sim` are refused before it starts."""

import pytest

from odeploy_runtime.errors import UsageError
from odeploy_sim.cli import sim


@pytest.mark.parametrize(
    ("options", "where", "expected"),
    [
        (["--priority", "0"], "--priority", "1 to 99"),
        (["--core", "4096"], "--core", "one of"),
        (["--spin-us", "201"], "--spin-us", "0 to 200"),
        (["--spin-us", "nan"], "--spin-us", "0 to 200"),
        (["--mode", "lockstep", "--priority", "80"], "--mode lockstep", "no --priority and no --spin-us"),
        (["--mode", "lockstep", "--spin-us", "50"], "--mode lockstep", "no --priority and no --spin-us"),
        (["--in-process"], "--in-process", "--policy FILE, and a mode in which the robot requests"),
        (["--in-process", "--policy", "x", "--mode", "stream"], "--in-process", "--policy FILE, and a mode"),
        (["--mode", "stream", "--execute", "2"], "--mode stream", "--execute 1, no --ahead and no --blend"),
        (["--dead-man"], "--dead-man", "--panel PATH"),
        (["--rate", "0"], "--rate", "a positive number of Hz"),
    ],
)
def test_an_error_names_the_option_and_its_valid_values(options: list[str], where: str, expected: str) -> None:
    with pytest.raises(UsageError) as raised:
        sim.main(["maze-medium", *options])
    assert raised.value.where == where
    assert raised.value.expected.startswith(expected)
