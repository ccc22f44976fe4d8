"""Results of a sweep's runs: lost machines are a run's failure, bugs keep their traceback."""

import pytest
import ray
from ray.exceptions import NodeDiedError, RayError, RayTaskError, WorkerCrashedError

from odeploy_train.sweeps.scheduler import Failed, _result

# Ray's exceptions have no types.
DIED = NodeDiedError("the node died\nof nothing")  # type: ignore[no-untyped-call]


def of_task(name: str, cause: Exception) -> RayError:
    return RayTaskError(name, "", cause)  # type: ignore[no-untyped-call]


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (WorkerCrashedError(), "The worker died unexpectedly"),
        (DIED, "the node died"),
        (of_task("measure", DIED), "the node died"),  # of the training that it waited for
    ],
)
def test_a_run_that_died_with_its_machines_is_a_failed_one(
    error: RayError, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lost(_: object) -> None:
        raise error

    monkeypatch.setattr(ray, "get", lost)
    result = _result(None)
    assert isinstance(result, Failed)
    assert result.reason.startswith(reason)
    assert "\n" not in result.reason


def test_a_bug_in_a_step_is_not_a_failed_run(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_: object) -> None:
        raise of_task("train", ZeroDivisionError())

    monkeypatch.setattr(ray, "get", broken)
    with pytest.raises(RayTaskError):
        _result(None)
