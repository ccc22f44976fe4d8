"""Typed JSON: strict types, named paths, exact floats."""

import json
import math
from dataclasses import dataclass, field
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from odeploy_runtime.errors import FormatError
from odeploy_runtime.typed_json import decode, encode, from_json, to_json


@dataclass(frozen=True)
class Leaf:
    mode: Literal["on", "off"]
    gain: float
    count: int = 3

    def __post_init__(self) -> None:
        if self.count < 0:
            raise ValueError(f"count {self.count} is negative")


@dataclass(frozen=True)
class Tree:
    name: str
    leaf: Leaf
    leaves: tuple[Leaf, ...]
    pair: tuple[int, float]
    limit: float | None
    spare: Leaf | None
    free: dict[str, Any]
    texts: dict[str, str] = field(default_factory=dict)
    flag: bool = False


TREE = Tree("t", Leaf("on", 0.5), (Leaf("off", -1.0, 7),), (1, 2.0), None, None, {"a": [1, None, "x"]}, {"k": "v"})


def changed(**changes: Any) -> str:
    return json.dumps(encode(TREE) | changes)


def refusal(text: str | bytes, kind: type[Any] = Tree) -> FormatError:
    with pytest.raises(FormatError) as raised:
        from_json(kind, text, "file")
    return raised.value


def test_a_tree_is_read_back_unchanged() -> None:
    assert from_json(Tree, to_json(TREE), "file") == TREE


def test_the_text_has_one_line_for_each_top_level_field_in_order() -> None:
    lines = to_json(TREE).splitlines()
    assert [line.strip(" {").split(":")[0] for line in lines] == [f'"{name}"' for name in encode(TREE)]
    assert to_json(TREE).endswith("}\n")


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_float_keeps_every_bit(value: float) -> None:
    back = from_json(Leaf, to_json(Leaf("on", value)), "file")
    assert back.gain.hex() == value.hex()


@pytest.mark.parametrize("value", [math.inf, -math.inf])
def test_an_infinite_limit_is_written_as_null(value: float) -> None:
    assert json.loads(to_json(Leaf("on", value)))["gain"] is None


def test_nan_is_refused_by_the_writer() -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        to_json(Leaf("on", math.nan))


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e400"])
def test_a_non_finite_number_is_refused_by_the_reader(number: str) -> None:
    refusal(f'{{"mode": "on", "gain": {number}}}', Leaf)


def test_an_integer_beyond_the_float_range_is_refused_for_a_float() -> None:
    assert "$.gain" in refusal(f'{{"mode": "on", "gain": 1{"0" * 400}}}', Leaf).where


@pytest.mark.parametrize(
    ("changes", "path", "expected", "got"),
    [
        ({"name": 3}, "$.name", "str", "int"),
        ({"name": None}, "$.name", "str", "null"),
        ({"leaf": []}, "$.leaf", "an object", "list"),
        ({"leaf": {"mode": "odd", "gain": 1.0}}, "$.leaf.mode", "one of 'on', 'off'", "'odd'"),
        ({"leaf": {"mode": [], "gain": 1.0}}, "$.leaf.mode", "one of 'on', 'off'", "[]"),
        ({"leaf": {"mode": "on"}}, "$.leaf.gain", "a value", "nothing"),
        ({"leaf": {"mode": "on", "gain": "1"}}, "$.leaf.gain", "float", "str"),
        ({"leaf": {"mode": "on", "gain": True}}, "$.leaf.gain", "float", "bool"),
        ({"leaf": {"mode": "on", "gain": None}}, "$.leaf.gain", "float", "null"),
        ({"leaf": {"mode": "on", "gain": 1, "count": True}}, "$.leaf.count", "int", "bool"),
        ({"leaf": {"mode": "on", "gain": 1, "count": 1.0}}, "$.leaf.count", "int", "float"),
        (
            {"leaf": {"mode": "on", "gain": 1, "count": -1}},
            "$.leaf",
            "a consistent object",
            "count -1 is negative",
        ),
        ({"leaves": {}}, "$.leaves", "a list", "dict"),
        ({"leaves": [{"mode": "on", "gain": 1}, 4]}, "$.leaves[1]", "an object", "int"),
        ({"leaves": [{"mode": "on", "gain": {}}]}, "$.leaves[0].gain", "float", "dict"),
        ({"pair": [1]}, "$.pair", "2 entries", "1"),
        ({"pair": [1, "x"]}, "$.pair[1]", "float", "str"),
        ({"limit": "low"}, "$.limit", "float", "str"),
        ({"spare": 1}, "$.spare", "an object", "int"),
        ({"free": []}, "$.free", "an object", "list"),
        ({"texts": {"k": 1}}, "$.texts.k", "str", "int"),
        ({"flag": 1}, "$.flag", "bool", "int"),
    ],
)
def test_a_wrong_type_is_named_with_its_path(changes: dict[str, Any], path: str, expected: str, got: str) -> None:
    error = refusal(changed(**changes))
    assert (error.where, error.expected, error.got) == (f"file at {path}", expected, got)


def test_the_root_must_be_an_object() -> None:
    assert refusal("[1]").where == "file at $"


@pytest.mark.parametrize("text", ["", "{", "nope", b"\xff\xfe\xfd", "[" * 100_000, "1" * 5_000])
def test_text_that_does_not_parse_is_a_format_error(text: str | bytes) -> None:
    refusal(text)


def test_unknown_fields_are_ignored_and_missing_ones_take_their_default() -> None:
    assert decode(Leaf, {"mode": "on", "gain": 1.0, "newer": {}}, "file") == Leaf("on", 1.0, 3)


def test_an_integer_is_accepted_for_a_float() -> None:
    gain = decode(Leaf, {"mode": "on", "gain": 2}, "file").gain
    assert gain == 2
    assert type(gain) is float


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([*encode(TREE), "mode"]), inner),
    max_leaves=12,
)


@given(JSON)
def test_any_json_is_a_tree_or_a_format_error(data: Any) -> None:
    try:
        decode(Tree, data, "file")
    except FormatError:
        return


@given(st.sampled_from(list(encode(TREE))), JSON)
def test_any_json_in_any_field_is_accepted_or_refused_at_its_path(name: str, data: Any) -> None:
    refused_at = f"file at $.{name}"
    try:
        decode(Tree, encode(TREE) | {name: data}, "file")
    except FormatError as error:
        refused_at = error.where
    assert refused_at.startswith(f"file at $.{name}")
