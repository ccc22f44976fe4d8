"""`odeploy` as a user runs it, in a separate process."""

import contextlib
import importlib
import io
import subprocess
import sys

from odeploy.verbs import VERBS


def odeploy(*arguments: str, timeout_s: float = 60) -> "subprocess.CompletedProcess[str]":
    """Run a verb to its end."""
    command = [sys.executable, "-m", "odeploy", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=timeout_s, check=False)


def in_process(*arguments: str) -> str:
    """Run a verb in this process and return its stdout: loading torch takes longer than most verbs."""
    verb = next(v for v in (" ".join(arguments[:2]), arguments[0]) if v in VERBS)
    module, _, function = VERBS[verb][0].partition(":")
    with contextlib.redirect_stdout(io.StringIO()) as output:
        getattr(importlib.import_module(module), function or "main")([*arguments[len(verb.split()) :]])
    return output.getvalue()


def started(*arguments: str) -> "subprocess.Popen[str]":
    """Start a verb with stdout and stderr in one stream."""
    return subprocess.Popen(
        [sys.executable, "-m", "odeploy", *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
