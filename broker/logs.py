"""The server's log: one JSON object a line, and on a terminal structlog's coloured lines.

Every package logs through the standard library's `logging` under its own name, with facts as `extra`; this module alone
decides how that looks. structlog takes 10 ms to load, which only a start that somebody watches pays. Invariant: a
message and its facts never hold a secret; that is the writer's duty, nothing is filtered here. What strangers
put into one (the name they log in with) cannot act on a terminal: controls are shown as escapes.
"""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, TextIO

if TYPE_CHECKING:
    from collections.abc import Mapping

    from structlog.types import EventDict


def configure(level: str, stream: TextIO | None = None, environment: Mapping[str, str] | None = None) -> None:
    """Send every log line of this process to `stream` (standard error); `level` is one of logging's names."""
    handler = logging.StreamHandler(sys.stderr if stream is None else stream)
    is_watched = handler.stream.isatty()
    handler.setFormatter(_TerminalFormatter(environment or {}) if is_watched else _JsonFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())


_OWN_ATTRIBUTES: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
"""What `logging` puts into a record; all else came as `extra`."""


class _JsonFormatter(logging.Formatter):
    """A line for a machine, with the keys that structlog gives."""

    def format(self, record: logging.LogRecord) -> str:
        facts = {key: value for key, value in vars(record).items() if key not in _OWN_ATTRIBUTES}
        line: dict[str, Any] = {
            "event": record.getMessage(),
            "level": record.levelname.lower(),
            "logger": record.name,
            **facts,
            "timestamp": datetime.fromtimestamp(record.created, UTC).isoformat().replace("+00:00", "Z"),
        }
        if record.stack_info:
            line["stack_info"] = record.stack_info
        if record.exc_info and record.exc_info[0] is not None:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False, default=repr)


class _TerminalFormatter(logging.Formatter):
    """Stands for structlog's formatter until the first line needs it."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        super().__init__()
        self._environment = environment
        self._formatter: logging.Formatter | None = None

    def format(self, record: logging.LogRecord) -> str:
        if self._formatter is None:
            self._formatter = _structlog_formatter(self._environment)
        return self._formatter.format(record)


def _structlog_formatter(environment: Mapping[str, str]) -> logging.Formatter:
    import structlog

    common: list[structlog.types.Processor] = [
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    colours = not environment.get("NO_COLOR") and environment.get("TERM") != "dumb"
    # The default takes rich where it is installed, which prints the variables of every frame, secrets among them.
    renderer = structlog.dev.ConsoleRenderer(colors=colours, exception_formatter=structlog.dev.plain_traceback)
    last: list[structlog.types.Processor] = [_without_controls, renderer]
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=common,
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last],
    )


def _without_controls(logger: object, method: str, event: EventDict) -> EventDict:
    """A line for a terminal, with what the terminal would act upon written as escapes."""
    from broker.render import printable

    return {key: printable(value) if isinstance(value, str) else value for key, value in event.items()}
