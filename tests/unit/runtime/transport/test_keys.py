"""Key files: secret keys have mode 600, none is overwritten, and invalid files are refused."""

import errno
from pathlib import Path

import pytest
import zmq
from hypothesis import given
from hypothesis import strategies as st
from zmq.utils import z85

from odeploy_runtime.cli.keys import main
from odeploy_runtime.errors import FormatError, MissingError, UsageError
from odeploy_runtime.transport.keys import read_allowed, read_pair, read_public


@pytest.fixture
def pair(tmp_path: Path) -> Path:
    main([str(tmp_path / "arm")])
    return tmp_path / "arm.key_secret"


def test_a_new_pair_matches_and_only_its_owner_can_read_the_secret(pair: Path) -> None:
    read = read_pair(pair)
    assert zmq.curve_public(read.secret) == read.public == read_public(pair.with_suffix(".key"))
    assert pair.stat().st_mode & 0o777 == 0o600
    assert read.secret not in pair.with_suffix(".key").read_bytes()


def test_two_pairs_are_different(tmp_path: Path) -> None:
    for name in ("a", "b"):
        main([str(tmp_path / "new" / name)])
    assert read_pair(tmp_path / "new/a.key_secret") != read_pair(tmp_path / "new/b.key_secret")


@pytest.mark.parametrize("suffix", [".key", ".key_secret"])
def test_an_existing_key_is_not_overwritten_and_no_partial_pair_is_written(tmp_path: Path, suffix: str) -> None:
    (tmp_path / f"arm{suffix}").write_text("old")
    with pytest.raises(UsageError, match="expected a name without a key"):
        main([str(tmp_path / "arm")])
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [(f"arm{suffix}", "old")]


@pytest.mark.parametrize("written", [0, 1])
def test_a_full_disk_leaves_no_key_and_the_retry_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, written: int
) -> None:
    calls: list[int] = []

    def full(descriptor: int) -> None:
        calls.append(descriptor)
        if len(calls) > written:
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(UsageError, match="got No space left on device; free some space"):
        main([str(tmp_path / "arm")])
    assert list(tmp_path.iterdir()) == []
    monkeypatch.undo()
    main([str(tmp_path / "arm")])
    assert {path.name for path in tmp_path.iterdir()} == {"arm.key", "arm.key_secret"}


def test_a_name_with_a_dot_keeps_it(tmp_path: Path) -> None:
    main([str(tmp_path / "arm.left")])
    assert {path.name for path in tmp_path.iterdir()} == {"arm.left.key", "arm.left.key_secret"}


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o666])
def test_a_secret_that_others_can_open_is_refused_with_the_command_that_fixes_it(pair: Path, mode: int) -> None:
    pair.chmod(mode)
    with pytest.raises(FormatError, match=f"got mode {mode:04o}; run: chmod 600"):
        read_pair(pair)


def test_a_public_key_is_no_secret_key(pair: Path) -> None:
    public = pair.with_suffix(".key")
    public.chmod(0o600)
    with pytest.raises(FormatError, match="expected a secret key, got a public one"):
        read_pair(public)


def test_a_missing_key_is_an_error_with_the_command_that_creates_one(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match="odeploy keys NAME"):
        read_pair(tmp_path / "arm.key_secret")
    with pytest.raises(FormatError, match="odeploy keys NAME"):
        read_public(tmp_path / "arm.key")


@given(st.binary(max_size=60))
def test_every_accepted_key_is_valid_for_zeromq(tmp_path_factory: pytest.TempPathFactory, key: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "any.key"
    path.write_bytes(b'curve\n    public-key = "' + key + b'"\n')
    try:
        read = read_public(path)
    except FormatError:
        return
    assert z85.encode(z85.decode(read)) == read
    assert len(z85.decode(read)) == 32


@pytest.mark.parametrize("key", ["", "x" * 39, "x" * 41, "~" * 40, "#" * 40])
def test_an_invalid_key_is_refused(tmp_path: Path, key: str) -> None:
    (tmp_path / "a.key").write_text(f'public-key = "{key}"\n')
    with pytest.raises(FormatError, match="40 characters in Z85"):
        read_public(tmp_path / "a.key")


def test_the_keys_of_a_folder_are_the_allowed_ones(tmp_path: Path) -> None:
    for name in ("arm", "leg"):
        main([str(tmp_path / name)])
    allowed = read_allowed(tmp_path)
    assert sorted(allowed.values()) == ["arm", "leg"]
    assert z85.decode(read_public(tmp_path / "arm.key")) in allowed


def test_a_folder_without_keys_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match=r"at least one public key, NAME\.key, got none"):
        read_allowed(tmp_path)
    with pytest.raises(MissingError, match="got no folder"):
        read_allowed(tmp_path / "missing")


def test_a_damaged_key_in_a_folder_is_named(pair: Path) -> None:
    (pair.parent / "bad.key").write_text("nothing")
    with pytest.raises(FormatError, match=r"bad\.key: expected a CURVE key"):
        read_allowed(pair.parent)
