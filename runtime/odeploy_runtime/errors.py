"""Errors that a user can cause, each with where, expected, got and remedy.

The command line prints `str(error)` as one line and exits with 2. Any other exception is a defect of odeploy and
keeps its traceback. Names from files and from other machines are part of the line, so it is printable.
"""

from odeploy_runtime.printable import printable


class OdeployError(Exception):
    """An error that the user can fix.

    Args:
        where: file, address, command or field concerned.
        expected: what would have been right.
        got: what was found instead.
        remedy: what to do now, as an imperative.
    """

    def __init__(self, *, where: str, expected: str, got: str, remedy: str) -> None:
        self.where, self.expected, self.got, self.remedy = where, expected, got, remedy
        line = f"{where}: expected {expected}, got {got}; {remedy}"
        super().__init__(printable(line.replace("\n", " ")))


def first_line(error: BaseException) -> str:
    """Return the first line of another library's error, or its type.

    The text has at most 200 characters.
    """
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]


class Terminated(KeyboardInterrupt):
    """SIGTERM: ends a server normally, and other commands as Ctrl-C does."""


class FormatError(OdeployError):
    """Bytes or JSON that violate their format."""


class PolicyFileError(FormatError):
    """A policy file that is missing, damaged, too new or not self-contained."""


class WireError(FormatError):
    """A frame that is not a message of the protocol."""


class ContractError(OdeployError):
    """Two sides that do not match: signals, rates, shapes."""


class AddressError(OdeployError):
    """An endpoint that cannot be bound or is not allowed."""


class UnreachableError(OdeployError):
    """No answer within the bounded wait."""


class RefusedError(OdeployError):
    """A request that the server rejected."""


class UsageError(OdeployError):
    """An option with an invalid value."""


class MissingError(OdeployError):
    """A missing file, task, dataset or extra."""


class ProviderError(OdeployError):
    """A requested execution provider that is not in use."""


class ParityError(OdeployError):
    """An exported graph whose outputs differ from the trained policy's.

    Nothing was written.
    """


class WorkerError(OdeployError):
    """A child process that died, or no longer answers."""


class RelayedError(OdeployError):
    """The error message of another process, passed on."""

    def __init__(self, line: str) -> None:
        Exception.__init__(self, printable(line))
