"""Options of a program's log, and the two formats of its lines on stderr.

Modules log with `logging.getLogger(__name__)`. Without `configure`, as in a library, nothing is printed.
"""

import json
import logging
import os
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from odeploy_runtime.printable import printable
from odeploy_runtime.typed_json import from_json, to_json

_OURS = "odeploy"
_VARIABLE = "ODEPLOY_LOG"
_STANDARD = {*vars(logging.makeLogRecord({})), "asctime", "message"}


@dataclass(frozen=True, kw_only=True)
class LogOptions:
    """Options of every verb that keeps running."""

    log_format: Literal["text", "json"] = "text"
    """Format of the log on stderr: `text`, or `json` with one object a line."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """Lowest level to log."""

    def log_arguments(self) -> list[str]:
        """Return these options as arguments of a child process."""
        return ["--log-format", self.log_format, "--log-level", self.log_level]


def configure(options: LogOptions) -> logging.Handler:
    """Log to stderr from here on, in place of earlier handlers.

    Return the new handler.

    Lines of other libraries appear from level warning on. Child processes can read `inherited` options.
    """
    handler = logging.StreamHandler()
    handler.setFormatter(JsonLines() if options.log_format == "json" else TextLines())
    handler.addFilter(_is_wanted)
    logging.basicConfig(handlers=[handler], level=options.log_level.upper(), force=True)
    os.environ[_VARIABLE] = to_json(LogOptions(log_format=options.log_format, log_level=options.log_level))
    return handler


def inherited() -> LogOptions:
    """Return the options with which the parent process logs.

    Without any, these are the defaults.
    """
    return from_json(LogOptions, os.environ.get(_VARIABLE, "{}"), where=_VARIABLE)


class TextLines(logging.Formatter):
    """Time, level and message.

    Unprintable characters become `?`, since names come from other machines.
    """

    default_msec_format = "%s.%03d"

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name
        """Format all but the traceback."""
        return printable(super().formatMessage(record))


class JsonLines(logging.Formatter):
    """One JSON object a line.

    It has time (UTC), level, logger, message and the record's extra fields.
    """

    def format(self, record: logging.LogRecord) -> str:
        """Format a record; everything but ASCII is escaped."""
        fields = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        extra = vars(record).keys() - _STANDARD
        # Libraries that replace the record's class mark theirs by an underscore, as Ray does.
        fields |= {name: value for name, value in vars(record).items() if name in extra and name[0] != "_"}
        if record.exc_info:
            fields["exception"] = self.formatException(record.exc_info)
        return json.dumps(fields, default=str)


def _is_wanted(record: logging.LogRecord) -> bool:
    return record.name.startswith(_OURS) or record.levelno >= logging.WARNING
