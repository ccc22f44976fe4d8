"""Errors: one line each, with all four parts, in one class tree."""

import inspect

import pytest

from odeploy_runtime import errors
from odeploy_runtime.errors import FormatError, OdeployError, PolicyFileError, RelayedError, WireError, first_line

KINDS = [
    kind
    for _, kind in inspect.getmembers(errors, inspect.isclass)
    if issubclass(kind, OdeployError) and kind is not RelayedError
]


@pytest.mark.parametrize("kind", KINDS)
def test_an_error_has_where_expected_got_and_remedy(kind: type[OdeployError]) -> None:
    error = kind(where="file.onnx", expected="weights", got="none", remedy="export it again")
    assert str(error) == "file.onnx: expected weights, got none; export it again"
    assert (error.where, error.expected, error.got, error.remedy) == (
        "file.onnx",
        "weights",
        "none",
        "export it again",
    )


def test_an_error_is_one_line_for_any_text() -> None:
    error = OdeployError(where="a\nb", expected="c\nd", got="e\nf", remedy="g")
    assert "\n" not in str(error)


def test_every_error_can_be_caught_by_its_base_class() -> None:
    assert all(issubclass(kind, OdeployError) for kind in [*KINDS, RelayedError])
    assert issubclass(PolicyFileError, FormatError)
    assert issubclass(WireError, FormatError)
    assert not issubclass(OdeployError, (ValueError, OSError))


def test_a_relayed_error_repeats_the_line_of_the_child() -> None:
    assert str(RelayedError("odeploy serve: file: expected a, got b; do c")) == (
        "odeploy serve: file: expected a, got b; do c"
    )


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (ValueError("\n one\ntwo"), "one"),
        (ValueError(""), "ValueError"),
        (ValueError("x" * 300), "x" * 200),
    ],
)
def test_another_librarys_error_becomes_its_first_line(error: Exception, line: str) -> None:
    assert first_line(error) == line
