"""Every error that a user can cause, in one tree. Each says what was expected, what came, where, and the remedy.

The front door prints `str(error)` as one line and exits with 2; anything that is not an `OdeployError` is
a defect of ours and keeps its traceback.
"""


class OdeployError(Exception):
    """A mistake that the user can mend.

    Args:
        where: the file, address, verb or field that is concerned.
        expected: what would have been right.
        got: what came instead.
        remedy: what to do now, as an imperative.
    """

    def __init__(self, *, where: str, expected: str, got: str, remedy: str) -> None:
        self.where, self.expected, self.got, self.remedy = where, expected, got, remedy
        super().__init__(f"{where}: expected {expected}, got {got}; {remedy}".replace("\n", " "))


class FormatError(OdeployError):
    """Bytes or JSON that are not what their format says."""


class PolicyFileError(FormatError):
    """A policy file that is missing, damaged, of a newer version, or not self-contained."""


class WireError(FormatError):
    """A frame that is not a message of our protocol."""


class ContractError(OdeployError):
    """Two sides that do not fit: signals, rates, shapes."""


class AddressError(OdeployError):
    """An endpoint that cannot be bound or is not allowed."""


class UnreachableError(OdeployError):
    """Nobody answered within the bounded wait."""


class RefusedError(OdeployError):
    """The server answered, and said no."""


class UsageError(OdeployError):
    """An option whose value makes no sense."""


class MissingError(OdeployError):
    """A file, task, dataset or extra that is not there."""


class ProviderError(OdeployError):
    """An execution provider that was asked for and is not in use."""


class ParityError(OdeployError):
    """An exported graph that does not compute what the trained policy computes; nothing was written."""


class WorkerError(OdeployError):
    """A process of ours that died, or no longer answers."""


class RelayedError(OdeployError):
    """What a child process said of its own failure, passed on as it is."""

    def __init__(self, line: str) -> None:
        Exception.__init__(self, line)
