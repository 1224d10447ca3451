"""The line protocol between a test and a client process, for clients driven from Python (Java: ScenarioLoop.java).

In: one scenario per line, tab separated: its name, then ``key=value`` arguments. Out: JSON lines, any number of
``{"record": [offset, timestamp_ms, key, value]}`` (base64, null kept), closed by one ``{"done": {...}}`` or
``{"error": "Class: message"}``. End of input ends the process.

Arguments always given: bootstrap, topic, group, username (the full login), account, password, client_id (member ids
begin with it), session_timeout_ms (heartbeats come ten times as often), deadline_ms, security (SASL_PLAINTEXT or
SASL_SSL, then also ca, a PEM file, and truststore, a PKCS#12 file, with truststore_password). A group
without a commit begins at the log's start. Scenarios, and what is done with their own arguments:

- ``group`` count[, metadata][, partition_bytes]: subscribe, read exactly count records, commit behind the last one if
  metadata is given, leave. ``hold`` the same, but the membership stays and heartbeats until the process is killed.
- ``assign`` offset, count[, partition_bytes]: read by assignment. ``assign_time`` timestamp, count: look the offset up,
  read on from it; ``{"offset": …, "timestamp": …}`` of the answer, both null (and nothing is read) if there is none.
  response_bytes beside partition_bytes: the largest answer of the broker that is taken, where a library has a limit.
- ``bounds``: ``{"begin": …, "end": …}``. ``committed``: ``{"offset": …, "metadata": …}``, null without a commit.
- ``topics``: ``{"topics": [names]}``, all that the client may see.

Reading ends with an error at the deadline (`read 0 of 1 records before the deadline`).
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
