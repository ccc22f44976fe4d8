"""`odeploy` as a user runs it: a process of its own."""

import contextlib
import importlib
import io
import subprocess
import sys

from odeploy.verbs import VERBS


def odeploy(*arguments: str, timeout_s: float = 60) -> "subprocess.CompletedProcess[str]":
    """Runs a verb to its end."""
    command = [sys.executable, "-m", "odeploy", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=timeout_s, check=False)


def in_process(*arguments: str) -> str:
    """The same in this process, to its stdout: loading torch takes longer than most verbs do."""
    verb = next(v for v in (" ".join(arguments[:2]), arguments[0]) if v in VERBS)
    module, _, function = VERBS[verb][0].partition(":")
    with contextlib.redirect_stdout(io.StringIO()) as said:
        getattr(importlib.import_module(module), function or "main")([*arguments[len(verb.split()) :]])
    return said.getvalue()


def started(*arguments: str) -> "subprocess.Popen[str]":
    """Starts a verb; its stdout and stderr come in one stream."""
    return subprocess.Popen(
        [sys.executable, "-m", "odeploy", *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
