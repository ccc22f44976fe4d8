"""The manifest: every bit is preserved, and a contradiction is reported with its path."""

import dataclasses
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from odeploy_runtime.errors import PolicyFileError
from odeploy_runtime.policy_file.actuation import PD, Actuation
from odeploy_runtime.policy_file.manifest import (
    MANIFEST_VERSION,
    GoldenRow,
    Manifest,
    Noise,
    Parity,
    Sampler,
    parse_manifest,
)
from odeploy_runtime.policy_file.recipe import Recipe, Term
from odeploy_runtime.signals import Signal
from odeploy_runtime.typed_json import encode, to_json
from tests.unit.runtime.fakes import manifest

STACKED = Recipe(
    raw=(Signal("speed", "m/s"), Signal("goal", "m", -1.0, 1.0)),
    terms=(Term("signals", ("speed",), (1, 0)), Term("signals", ("goal",)), Term("phase", period_s=0.1)),
    command=("goal",),
)
SERVO = Actuation(500.0, "linear", PD((80.0, 0.1), (2.0, 1e-3), (0.0, -0.3), (33.5, 1.0)))

floats = st.floats(allow_nan=False, allow_infinity=False)
names = st.text(max_size=8)


@st.composite
def signals(draw: st.DrawFn) -> Signal:
    low, high = draw(st.none() | floats), draw(st.none() | floats)
    if low is not None and high is not None:
        low, high = (min(low, high), max(low, high)) if low != high else (low, None)
    return Signal(draw(names), draw(names), low, high, draw(st.none() | floats))


@st.composite
def manifests(draw: st.DrawFn) -> Manifest:
    flow = draw(st.booleans())
    state_size = 0 if flow else draw(st.integers(0, 9))
    noise = (draw(st.integers(1, 3)), draw(st.integers(1, 2)), draw(st.integers(1, 3))) if flow else (0, 0, 0)
    observation = draw(st.lists(signals(), min_size=1, max_size=4))
    action = draw(st.lists(signals(), min_size=1, max_size=3))
    horizon, steps = draw(st.integers(1, 3)), draw(st.integers(0, 4))
    sizes = len(observation), noise[0] * noise[1] * noise[2], horizon * len(action)
    row = st.builds(GoldenRow, *(st.lists(floats, min_size=n, max_size=n).map(tuple) for n in sizes))
    return Manifest(
        version=MANIFEST_VERSION,
        name=draw(names),
        method=draw(names),
        kind="flow" if flow else "recurrent" if state_size else "mlp",
        task=draw(names),
        rate_hz=draw(st.floats(min_value=0, exclude_min=True, allow_infinity=False)),
        horizon=horizon,
        observation=tuple(observation),
        action=tuple(action),
        action_semantics=draw(names),
        noise=Noise(draw(st.sampled_from(["zero", "normal"])) if flow else "none", noise),
        sampler=Sampler(draw(names), steps, tuple(draw(floats) for _ in range(steps + 1)), noise[0])
        if flow
        else None,
        parity=tuple(
            draw(st.lists(st.builds(Parity, names, floats, floats, st.integers(), st.just((1, 8)), st.integers())))
        ),
        golden=tuple(draw(st.lists(row, max_size=2))),
        provenance=draw(st.dictionaries(names, st.none() | floats | st.integers() | names, max_size=3)),
        state_size=state_size,
    )


def bits(value: Any) -> Any:
    """Return the same structure with every float as its bits: -0.0 is not 0.0."""
    if isinstance(value, float):
        return value.hex()
    if isinstance(value, list):
        return [bits(v) for v in value]
    return {k: bits(v) for k, v in value.items()} if isinstance(value, dict) else value


def refusal(changes: dict[str, Any]) -> PolicyFileError:
    with pytest.raises(PolicyFileError) as raised:
        parse_manifest(json.dumps(encode(manifest()) | changes).encode(), "file")
    return raised.value


@given(manifests())
def test_a_manifest_keeps_every_bit_of_every_float(written: Manifest) -> None:
    back = parse_manifest(to_json(written).encode(), "file")
    assert back == written
    assert bits(encode(back)) == bits(encode(written))


@pytest.mark.parametrize("version", [MANIFEST_VERSION + 1, 10**12])
def test_a_newer_version_is_refused_with_its_own_message_for_any_content(version: int) -> None:
    for text in (json.dumps({"version": version}), json.dumps(encode(manifest()) | {"version": version})):
        with pytest.raises(PolicyFileError) as raised:
            parse_manifest(text.encode(), "file")
        assert (raised.value.expected, raised.value.got) == ("version 1 or older", f"version {version}")
        assert "upgrade odeploy" in raised.value.remedy


@pytest.mark.parametrize(
    ("changes", "path"),
    [
        ({"version": "1"}, "$.version"),
        ({"version": True}, "$.version"),
        ({"rate_hz": "fast"}, "$.rate_hz"),
        ({"horizon": 1.5}, "$.horizon"),
        ({"kind": "tree"}, "$.kind"),
        ({"observation": None}, "$.observation"),
        ({"observation": [{"name": "x", "unit": 1}]}, "$.observation[0].unit"),
        ({"action": [{"name": "u", "unit": "1", "low": 1, "high": 0}]}, "$.action[0]"),
        ({"noise": {"mode": "pink"}}, "$.noise.mode"),
        ({"noise": {"mode": "normal", "shape": [1, 2]}}, "$.noise.shape"),
        ({"sampler": {"solver": "euler", "steps": 2, "t_grid": [0, 1]}}, "$.sampler"),
        ({"golden": [{"observation": [1, 2, "x"], "noise": [], "action": []}]}, "$.golden[0].observation[2]"),
        ({"provenance": []}, "$.provenance"),
    ],
)
def test_a_wrong_type_is_named_with_its_path(changes: dict[str, Any], path: str) -> None:
    assert refusal(changes).where == f"file, manifest at {path}"


@pytest.mark.parametrize(
    "field", [f.name for f in dataclasses.fields(Manifest) if f.default is dataclasses.MISSING]
)
def test_a_missing_field_is_named(field: str) -> None:
    fields = encode(manifest())
    del fields[field]
    with pytest.raises(PolicyFileError) as raised:
        parse_manifest(json.dumps(fields).encode(), "file")
    assert raised.value.where == f"file, manifest at $.{field}"
    assert raised.value.got == "nothing"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rate_hz": 0}, "rate_hz 0.0 is not positive"),
        ({"rate_hz": -50}, "rate_hz -50.0 is not positive"),
        ({"horizon": 0}, "must not be empty"),
        ({"observation": []}, "must not be empty"),
        ({"action": []}, "must not be empty"),
        ({"kind": "mlp"}, "the others have none"),
        ({"kind": "recurrent", "state_size": 5}, "the others have none"),
        ({"state_size": 5}, "kind flow with a state of 5 numbers"),
        ({"state_size": -1}, "kind flow with a state of -1 numbers"),
        ({"kind": "recurrent", "sampler": None, "state_size": 10**12}, "more than 1,048,576 numbers"),
        (
            {"kind": "recurrent", "sampler": None, "noise": {"mode": "none"}, "golden": []},
            "kind recurrent with a state of 0 numbers",
        ),
        ({"sampler": None}, "a flow has a sampler"),
        ({"noise": {"mode": "none", "shape": [1, 1, 2]}}, "noise none"),
        ({"noise": {"mode": "normal", "shape": [0, 0, 0]}}, "noise normal"),
        ({"noise": {"mode": "normal", "shape": [-1, -1, 2]}}, "noise normal"),
        ({"noise": {"mode": "normal", "shape": [3, 1, 2]}}, "1 candidates from noise of shape (3, 1, 2)"),
        ({"sampler": {"solver": "euler", "steps": 1, "t_grid": [0, 1], "candidates": 0}}, "0 candidates"),
        ({"golden": [{"observation": [1, 2], "noise": [0, 0], "action": [0, 0]}]}, "sizes"),
        ({"golden": [{"observation": [1, 2, 3], "noise": [0], "action": [0, 0]}]}, "sizes"),
        ({"golden": [{"observation": [1, 2, 3], "noise": [0, 0], "action": [0]}]}, "sizes"),
    ],
)
def test_a_manifest_that_contradicts_itself_is_refused(changes: dict[str, Any], message: str) -> None:
    assert message in refusal(changes).got


def test_a_manifest_without_a_state_size_has_no_state() -> None:
    fields = encode(manifest())
    del fields["state_size"]
    assert parse_manifest(json.dumps(fields).encode(), "file") == manifest()


def stacked(**changes: Any) -> Manifest:
    """Return a manifest with both optional parts."""
    names = STACKED.observation(manifest().action)
    golden = (GoldenRow((0.1,) * 5, (0.5, -0.5), (0.25, -1.0)),)
    fields: dict[str, Any] = {"observation": names, "golden": golden, "recipe": STACKED, "actuation": SERVO}
    return manifest(**(fields | changes))


def test_the_optional_parts_are_preserved() -> None:
    written = stacked()
    assert parse_manifest(to_json(written).encode(), "file") == written
    assert written.raw_names == ("speed", "goal")
    assert written.observation_names == ("speed_1_ago", "speed", "goal", "phase_0.1_s_sin", "phase_0.1_s_cos")


def test_a_manifest_without_the_optional_parts_is_written_without_them() -> None:
    text = to_json(manifest())
    assert "actuation" not in json.loads(text)
    assert "recipe" not in json.loads(text)
    assert to_json(parse_manifest(text.encode(), "file")) == text
    assert manifest().raw_names == ("x", "y", "speed")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"actuation": encode(Actuation(130.0, "hold"))}, "an actuator of 130 Hz under a policy of 100 Hz"),
        ({"actuation": encode(Actuation(500.0, "hold", PD((1.0,), (1.0,), (0.0,), (1.0,))))}, "gains of 1 joints"),
        ({"actuation": encode(SERVO) | {"interpolation": "cubic"}}, "'cubic'"),
        ({"recipe": encode(Recipe(STACKED.raw, (Term("action"),)))}, "makes 2 of 5 signals"),
        ({"recipe": encode(STACKED) | {"terms": [{"of": "signals", "names": ["pace"]}]}}, "the name pace"),
        ({"recipe": encode(STACKED) | {"terms": []}}, "and terms"),
    ],
)
def test_optional_parts_that_contradict_the_policy_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(PolicyFileError) as raised:
        parse_manifest(json.dumps(encode(stacked()) | changes).encode(), "file")
    assert message in raised.value.got


def test_a_previous_action_is_refused_for_action_chunks() -> None:
    again = Recipe(STACKED.raw, (Term("action"),))
    seen = again.observation(manifest().action)
    stacked(recipe=again, observation=seen, golden=())
    with pytest.raises(ValueError, match="a previous action, where 2 are answered at once"):
        stacked(recipe=again, observation=seen, golden=(), horizon=2)


def test_a_manifest_without_ties_and_candidates_takes_their_defaults() -> None:
    fields = encode(manifest())
    del fields["parity"][0]["ties"], fields["sampler"]["candidates"]
    assert parse_manifest(json.dumps(fields).encode(), "file") == manifest()


@pytest.mark.parametrize("text", [b"", b"[]", b"null", b"\xff", b"[" * 100_000, b'{"version": 1'])
def test_a_manifest_that_is_not_an_object_is_refused(text: bytes) -> None:
    with pytest.raises(PolicyFileError):
        parse_manifest(text, "file")


def test_the_sampler_label_names_solver_steps_and_candidates() -> None:
    assert manifest().sampler_label == "euler × 2"
    many = manifest(sampler=Sampler("heun", 1, (0.0, 1.0), 8), noise=Noise("normal", (8, 1, 2)), golden=())
    assert many.sampler_label == "heun × 1, best of 8"
    student = manifest(kind="mlp", sampler=None, noise=Noise("none"), golden=())
    assert student.sampler_label == "-"
