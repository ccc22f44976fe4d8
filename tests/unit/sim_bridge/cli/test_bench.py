"""`odeploy bench` checks all options before it starts."""

from pathlib import Path

import pytest

from odeploy_runtime.errors import ContractError, UsageError
from odeploy_sim.catalogue import get
from odeploy_sim.cli import bench
from odeploy_sim.experts.trained import trained

FILE = str(trained(get("hopper")))


@pytest.mark.parametrize(
    ("options", "where"),
    [
        (["--rates", "fast"], "--rates"),
        (["--rates", "100,0"], "--rate"),
        (["--episodes", "0"], "--episodes"),
        (["--rates", "50,100", "--episodes", "1,2,3"], "--episodes"),
        (["--priority", "100"], "--priority"),
        (["--execute", "2"], "--execute"),
        (["--noise", "2"], "--noise 2"),
    ],
)
def test_an_error_names_the_wrong_option(options: list[str], where: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError) as raised:
        bench.main([FILE, "--task", "hopper", "--out", str(tmp_path / "bench"), *options])
    assert raised.value.where == where
    assert not (tmp_path / "bench").exists()


def test_a_file_of_another_task_is_refused_with_the_differing_signals(tmp_path: Path) -> None:
    with pytest.raises(ContractError, match="on walker2d, observation"):
        bench.main([FILE, "--task", "walker2d", "--out", str(tmp_path / "bench")])
