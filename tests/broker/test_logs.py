"""The log: for a terminal, for a machine, and not loaded before it is needed."""

from __future__ import annotations

import io
import json
import logging
import subprocess
import sys
from typing import Any

import pytest

from broker import logs


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def root_logger():
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


def test_a_machine_reads_one_json_object_a_line():
    stream = io.StringIO()
    logs.configure("info", stream)
    logging.getLogger("binwire.app").info("channel is %s", "Normal", extra={"channel": "商店"})
    logging.getLogger("binwire.app").debug("not shown")
    document = json.loads(stream.getvalue())
    assert document.pop("timestamp").endswith("Z")
    assert document == {"event": "channel is Normal", "channel": "商店", "level": "info", "logger": "binwire.app"}
    assert "商店" in stream.getvalue()


def test_an_exception_is_one_line_for_a_machine():
    stream = io.StringIO()
    logs.configure("info", stream)
    try:
        raise ValueError("why")
    except ValueError:
        logging.getLogger("x").exception("failed")
    [line] = stream.getvalue().splitlines()
    assert "ValueError: why" in json.loads(line)["exception"]


@pytest.mark.parametrize("stream", [io.StringIO, Terminal])
def test_a_traceback_has_no_variables(stream: type[io.StringIO]):
    """Whose values may be secrets."""
    shown = stream()
    logs.configure("info", shown)
    password = "S3cret-word".replace("word", "value")
    try:
        raise ValueError("why" if password else "")
    except ValueError:
        logging.getLogger("x").exception("failed")
    assert "ValueError: why" in shown.getvalue()
    assert "S3cret-value" not in shown.getvalue()


def test_a_line_for_a_machine_says_what_structlog_says():
    import structlog

    ours, theirs = io.StringIO(), io.StringIO()
    logs.configure("info", ours)
    handler = logging.StreamHandler(theirs)
    processors: list[Any] = [
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.ExtraAdder(),
    ]
    last: list[Any] = [
        structlog.stdlib.ProcessorFormatter.remove_processors_meta,
        structlog.processors.format_exc_info,
        structlog.processors.JSONRenderer(ensure_ascii=False),
    ]
    handler.setFormatter(structlog.stdlib.ProcessorFormatter(foreign_pre_chain=processors, processors=last))
    logging.getLogger().addHandler(handler)
    log = logging.getLogger("x")
    log.info("%s %%", "\u2028\x9b\x1b", extra={"n": 3, "path": b"\xff", "pair": (1, 2)})
    log.error("failed", exc_info=ValueError("why"))
    log.error("nothing was raised", exc_info=True)  # noqa: LOG014 — what is asked here
    log.info("here", stack_info=True)
    documents = [[json.loads(line) for line in stream.getvalue().split("\n")[:-1]] for stream in (ours, theirs)]
    for document in documents[0]:
        del document["timestamp"]
    assert documents[0] == documents[1]
    assert len(documents[0]) == 4


@pytest.mark.parametrize(
    ("environment", "coloured"), [({}, True), ({"NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)]
)
def test_a_terminal_has_colours_unless_told_otherwise(environment, coloured):
    stream = Terminal()
    logs.configure("info", stream, environment)
    logging.getLogger("binwire.app").warning("stopping", extra={"channel": "shop"})
    assert "stopping" in stream.getvalue()
    assert "shop" in stream.getvalue()
    assert ("\x1b[" in stream.getvalue()) is coloured


def test_what_a_stranger_sends_does_not_act_on_a_terminal():
    stream = Terminal()
    logs.configure("info", stream, {"NO_COLOR": "1"})
    logging.getLogger("x").warning("login of %s", "a\x1b[2J\x9b2J\nb\u202e", extra={"name_sent": "\x07 bell"})
    [line] = stream.getvalue().splitlines()
    assert "login of a\\x1b[2J" in line
    assert "bell" in line
    assert line.isprintable()


def test_a_fact_that_json_does_not_know_is_shown_as_python_shows_it():
    stream = io.StringIO()
    logs.configure("info", stream)
    logging.getLogger("x").info("refused", extra={"addresses": {"::1"}})
    assert json.loads(stream.getvalue())["addresses"] == "{'::1'}"


def test_nothing_heavy_is_loaded_where_no_terminal_is_written_to():
    program = (
        "import sys, logging; from broker import logs; logs.configure('info'); logging.getLogger('x').info('yes');"
        "print('structlog' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
