"""Console entry point: `odeploy VERB` imports and runs the verb's module.

A user's mistake ends as one line on stderr and exit status 2, Ctrl-C as exit status 130. SIGTERM ends a
verb as Ctrl-C does, so that traces are written and child processes stopped; a server then exits with 0.
"""

import contextlib
import errno
import importlib
import os
import select
import signal
import sys
from collections.abc import Iterator
from types import FrameType
from typing import NoReturn

from odeploy.verbs import VERBS
from odeploy_runtime.errors import OdeployError, Terminated

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT)


def main() -> NoReturn:
    """Run the chosen verb and exit with its status."""
    arguments = sys.argv[1:]
    verb = next((v for v in (" ".join(arguments[:2]), *arguments[:1]) if v in VERBS), None)
    if verb is None:
        asked_for_help = not arguments or arguments[0] in ("-h", "--help")
        if not asked_for_help:
            _fail(_help(" ".join(arguments)), 2)
        with _until_stdout_fails("odeploy"):
            print(_help(""))  # noqa: T201
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


def _help(asked: str) -> str:
    first = [] if not asked or asked in ("-h", "--help") else [f"odeploy: no verb '{asked}'; choose one of:", ""]
    rows = [f"  {name:15}{verb.summary}" for name, verb in VERBS.items()]
    return "\n".join([*first, "usage: odeploy VERB ...   (odeploy VERB --help for its options)", "", *rows])


def _interrupt(signum: int, _frame: FrameType | None) -> None:
    # Ignore further signals: the shutdown is bounded in time and must complete.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    raise Terminated if signum == signal.SIGTERM else KeyboardInterrupt


def _fail(line: str, status: int) -> NoReturn:
    with contextlib.suppress(OSError):  # stderr may be full or closed too
        print(line, file=sys.stderr, flush=True)  # noqa: T201
    sys.exit(status)
