"""The line protocol between a test and a client process, for clients driven from Python (Java: ScenarioLoop.java).

In: one scenario per line, tab separated: its name, then ``key=value`` arguments. Out: JSON lines, any number of
``{"record": [offset, timestamp_ms, key, value]}`` (base64, null kept), closed by one ``{"done": {...}}`` or
``{"error": "Class: message"}``. End of input ends the process.
"""

from __future__ import annotations

import base64
import json
import sys
import traceback
from collections.abc import Callable, Mapping
from typing import Any

Scenario = Callable[[Mapping[str, str]], dict[str, Any]]


def emit(kind: str, value: Any) -> None:
    sys.stdout.write(json.dumps({kind: value}) + "\n")
    sys.stdout.flush()


def emit_record(offset: int, timestamp_ms: int, key: bytes | None, value: bytes | None) -> None:
    emit("record", [offset, timestamp_ms, _base64(key), _base64(value)])


def serve(scenarios: Mapping[str, Scenario]) -> None:
    """Run the scenarios that standard input asks for, one after the other, until it ends."""
    for line in sys.stdin:
        name, *pairs = line.rstrip("\n").split("\t")
        arguments = dict(pair.split("=", 1) for pair in pairs)
        try:
            emit("done", scenarios[name](arguments))
        except Exception as error:
            traceback.print_exc()
            emit("error", f"{type(error).__name__}: {error}")


def _base64(data: bytes | None) -> str | None:
    return None if data is None else base64.b64encode(data).decode("ascii")
