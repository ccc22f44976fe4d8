"""`odeploy` as a user runs it: a process of its own."""

import subprocess
import sys


def odeploy(*arguments: str, timeout_s: float = 60) -> "subprocess.CompletedProcess[str]":
    """Runs a verb to its end."""
    command = [sys.executable, "-m", "odeploy", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=timeout_s, check=False)


def started(*arguments: str) -> "subprocess.Popen[str]":
    """Starts a verb; its stdout and stderr come in one stream."""
    return subprocess.Popen(
        [sys.executable, "-m", "odeploy", *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
