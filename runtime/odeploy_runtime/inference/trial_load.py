"""Trial load of a policy file in a child process, within a time limit.

Nothing can interrupt a graph that does not end, and no signal is handled meanwhile. So a fork of this process
loads the file first, with golden rows and warm-up.
"""

import logging

from odeploy_runtime.errors import UsageError, WorkerError
from odeploy_runtime.inference.policy import Policy, load_policy, prepare
from odeploy_runtime.policy_file.file import PolicyFile
from odeploy_runtime.realtime.child_process import ending, forked

LOAD_LIMIT_S = 30.0


def load_tried(file: PolicyFile, provider: str, limit_s: float = LOAD_LIMIT_S) -> Policy:
    """Load a file as `load_policy` does, once `try_load` has passed."""
    try_load(file, provider, limit_s)
    return load_policy(file, provider)


def try_load(file: PolicyFile, provider: str, limit_s: float = LOAD_LIMIT_S) -> None:
    """Load a file in a child process, to see that this ends.

    A file that the child refuses passes: loading it here gives the same error.

    Args:
        file: the checked policy file.
        provider: as for `load_policy`.
        limit_s: time limit [s].

    Raises:
        UsageError: no positive limit.
        WorkerError: the child did not end in time, or was killed.
    """
    if not 0 < limit_s < 1e6:
        raise UsageError(
            where="--load-timeout",
            expected="seconds, above 0",
            got=f"{limit_s:g}",
            remedy=f"leave it out for {LOAD_LIMIT_S:g}",
        )
    prepare(file, provider)
    status = forked(lambda: _load_silently(file, provider), limit_s)
    if status == 0:
        return
    raise WorkerError(
        where=f"{file.path}",
        expected=f"a graph that loads and answers its golden rows within {limit_s:g} s",
        got="no end" if status is None else ending(status),
        remedy="export the policy again; if its provider is slow to load, raise --load-timeout",
    )


def _load_silently(file: PolicyFile, provider: str) -> None:
    """Load without a log, since this process logs the same lines afterwards."""
    logging.disable()
    load_policy(file, provider)
