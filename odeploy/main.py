"""Console entry point: `odeploy VERB` imports and runs the verb's module.

A user's mistake ends as one line on stderr and exit status 2, Ctrl-C as exit status 130. SIGTERM ends a
verb as Ctrl-C does, so that traces are written and child processes stopped; a server then exits with 0.
"""

import contextlib
import difflib
import errno
import importlib
import os
import select
import signal
import sys
from collections.abc import Iterator
from types import FrameType
from typing import NoReturn

from odeploy.verbs import GROUPS, VERBS
from odeploy_runtime.errors import OdeployError, Terminated
from odeploy_runtime.printable import printable

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT)


def main() -> NoReturn:
    """Run the chosen verb and exit with its status."""
    arguments = sys.argv[1:]
    verb = next((v for v in (" ".join(arguments[:2]), *arguments[:1]) if v in VERBS), None)
    if verb is None:
        asked = arguments[0] if arguments else "--help"
        if asked not in ("-h", "--help", "--version"):
            _fail(_unknown(arguments), 2)
        with _until_stdout_fails("odeploy"):
            print(_version() if asked == "--version" else _help())  # noqa: T201
        sys.exit(0)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupt)
    os.environ["PYTHONSAFEPATH"] = "1"  # worker processes must not import files of the working directory
    try:
        module, _, function = VERBS[verb].module.partition(":")
        with _until_stdout_fails(f"odeploy {verb}"):
            getattr(importlib.import_module(module), function or "main")(arguments[len(verb.split()) :])
    except OdeployError as error:
        _fail(f"odeploy {verb}: {error}", 2)
    except KeyboardInterrupt:
        _fail(f"odeploy {verb}: interrupted", 130)
    except ModuleNotFoundError as error:
        package, _, module_inside = (error.name or "").partition(".")
        if module_inside and package.startswith("odeploy_"):
            raise  # a defect; only a whole package of ours may be absent, as on a robot
        extra = VERBS[verb].extra
        _fail(f"odeploy {verb}: the package {error.name} is missing; run: pip install 'odeploy[{extra}]'", 2)
    sys.exit(0)


@contextlib.contextmanager
def _until_stdout_fails(command: str) -> Iterator[None]:
    """Exit once stdout cannot be written any more.

    That is quiet if nothing reads it, as with `odeploy tasks | head`, and one line if its device is full.
    """
    try:
        try:
            yield
        finally:
            if sys.stdout is not None:  # None if it was closed before the start
                sys.stdout.flush()
    except OSError as error:
        if not (_nothing_reads_stdout() if isinstance(error, BrokenPipeError) else error.errno in _NO_ROOM):
            raise  # another pipe broke: a defect
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for the flush when Python exits
        if isinstance(error, BrokenPipeError):
            sys.exit(128 + signal.SIGPIPE)
        where = error.filename or "the output or a file written"
        _fail(f"{command}: {where}: expected room, got {error.strerror}; free some, or write to another place", 2)


def _nothing_reads_stdout() -> bool:
    stdout = select.poll()
    stdout.register(sys.stdout, 0)
    return bool(stdout.poll(0))


def _version() -> str:
    from odeploy.version import version_line  # each verb would wait for it

    return version_line()


def _help() -> str:
    lines = ["usage: odeploy VERB ...   (odeploy VERB --help for its options; odeploy --version)"]
    for group, verbs in GROUPS.items():
        lines += ["", f"{group}:", *(f"  {name:15}{verb.summary}" for name, verb in verbs.items())]
    return "\n".join(lines)


def _unknown(arguments: list[str]) -> str:
    """Return one line about words that begin no verb, with the nearest verbs."""
    words = [word for word in arguments[:2] if not word.startswith("-")] or arguments[:1]
    inside = [verb for verb in VERBS if verb.startswith(f"{words[0]} ")]
    asked = " ".join(words) if inside else words[0]
    near = inside if asked == words[0] and inside else difflib.get_close_matches(asked, VERBS, 1) or inside
    return f"odeploy: expected a verb, got {printable(asked)}; " + (
        f"use {', '.join(near)}" if near else "`odeploy --help` lists all"
    )


def _interrupt(signum: int, _frame: FrameType | None) -> None:
    # Ignore further signals: the shutdown is bounded in time and must complete.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    raise Terminated if signum == signal.SIGTERM else KeyboardInterrupt


def _fail(line: str, status: int) -> NoReturn:
    with contextlib.suppress(OSError):  # stderr may be full or closed too
        print(line, file=sys.stderr, flush=True)  # noqa: T201
    sys.exit(status)
