"""The server's log: structlog, coloured lines on a terminal, one JSON object a line otherwise.

Every package logs through the standard library's `logging` under its own name, with facts as `extra`; this module alone
decides how that looks. structlog is loaded with the first line that is really written, so that start-up does not pay
for it. Invariant: a message and its facts never hold a secret; that is the writer's duty, nothing is filtered here.
What strangers put into one (the name they log in with) cannot act on a terminal: controls are shown as escapes.
"""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from collections.abc import Mapping

    from structlog.types import EventDict


def configure(level: str, stream: TextIO | None = None, environment: Mapping[str, str] | None = None) -> None:
    """Send every log line of this process to `stream` (standard error); `level` is one of logging's names."""
    handler = logging.StreamHandler(sys.stderr if stream is None else stream)
    handler.setFormatter(_LateFormatter(handler.stream, environment or {}))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())


class _LateFormatter(logging.Formatter):
    """Stands for structlog's formatter until the first line needs it."""

    def __init__(self, stream: TextIO, environment: Mapping[str, str]) -> None:
        super().__init__()
        self._stream = stream
        self._environment = environment
        self._formatter: logging.Formatter | None = None

    def format(self, record: logging.LogRecord) -> str:
        if self._formatter is None:
            self._formatter = _structlog_formatter(self._stream, self._environment)
        return self._formatter.format(record)


def _structlog_formatter(stream: TextIO, environment: Mapping[str, str]) -> logging.Formatter:
    import structlog

    common: list[structlog.types.Processor] = [
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    if stream.isatty():
        colours = not environment.get("NO_COLOR") and environment.get("TERM") != "dumb"
        last: list[structlog.types.Processor] = [_without_controls, structlog.dev.ConsoleRenderer(colors=colours)]
    else:
        last = [structlog.processors.format_exc_info, structlog.processors.JSONRenderer(ensure_ascii=False)]
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=common,
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last],
    )


def _without_controls(logger: object, method: str, event: EventDict) -> EventDict:
    """A line for a terminal, with what the terminal would act upon written as escapes."""
    from broker.render import printable

    return {key: printable(value) if isinstance(value, str) else value for key, value in event.items()}
