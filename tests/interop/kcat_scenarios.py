"""The scenarios of kcat (librdkafka): one kcat run per scenario, behind the same line protocol as the other clients.

The command that starts kcat is the arguments of this process. Records leave kcat as ``offset timestamp key-size
value-size``, a line feed, then key and value bytes, so that any bytes survive. The password goes in by a file, never by
a command line. What kcat's options cannot express (commit metadata, asking for a committed offset, staying a member
behind what was asked for) is not offered here.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.interop.scenario_loop import emit_record, serve

_FORMAT = "%o %T %K %S\\n%k%s"
_EARLIEST, _LATEST = "-2", "-1"
_NONE_FOUND = -1  # what librdkafka makes of "no such record": the end


def _configuration(arguments: Mapping[str, str]) -> str:
    settings = {
        "bootstrap.servers": arguments["bootstrap"],
        "client.id": arguments["client_id"],
        "security.protocol": arguments["security"].lower(),
        "sasl.mechanisms": "PLAIN",
        "sasl.username": arguments["username"],
        "sasl.password": arguments["password"],
        "session.timeout.ms": arguments["session_timeout_ms"],
        "heartbeat.interval.ms": str(int(arguments["session_timeout_ms"]) // 10),
        "auto.offset.reset": "earliest",
        "check.crcs": "true",
        "max.partition.fetch.bytes": arguments.get("partition_bytes", "1048576"),
    }
    if arguments["security"] == "SASL_SSL":
        settings["ssl.ca.location"] = arguments["ca"]
        settings["ssl.endpoint.identification.algorithm"] = "https"
    return "".join(f"{key}={value}\n" for key, value in settings.items())


def _kcat(arguments: Mapping[str, str], *options: str) -> bytes:
    with tempfile.TemporaryDirectory(prefix="kcat-") as folder:
        configuration = Path(folder, "kcat.conf")
        configuration.write_text(_configuration(arguments), encoding="utf-8")
        configuration.chmod(0o600)
        finished = subprocess.run(
            [*sys.argv[1:], "-q", "-F", str(configuration), *options],
            capture_output=True,
            timeout=int(arguments["deadline_ms"]) / 1000,
            check=False,
        )
    sys.stderr.buffer.write(finished.stderr)
    if finished.returncode:
        raise RuntimeError(finished.stderr.decode("utf-8", "replace").strip())
    return finished.stdout


def _read(arguments: Mapping[str, str], *mode: str) -> dict[str, Any]:
    return {"count": _emit_records(_kcat(arguments, "-c", arguments["count"], "-f", _FORMAT, *mode))}


def _emit_records(output: bytes) -> int:
    position = count = 0
    while position < len(output):
        line_end = output.index(b"\n", position)
        offset, timestamp_ms, key_bytes, value_bytes = map(int, output[position:line_end].split())
        key_start, value_start = line_end + 1, line_end + 1 + max(key_bytes, 0)
        position = value_start + max(value_bytes, 0)
        key = None if key_bytes < 0 else output[key_start:value_start]
        emit_record(offset, timestamp_ms, key, None if value_bytes < 0 else output[value_start:position])
        count += 1
    return count


def _group(arguments: Mapping[str, str]) -> dict[str, Any]:
    """Group mode; kcat commits what it printed when it leaves."""
    return _read(arguments, "-G", arguments["group"], arguments["topic"])


def _assign(arguments: Mapping[str, str]) -> dict[str, Any]:
    return _read(arguments, "-C", "-t", arguments["topic"], "-p", "0", "-o", arguments["offset"])


def _assign_time(arguments: Mapping[str, str]) -> dict[str, Any]:
    """Both of kcat's ways to a time: ask for its offset, and read from it on."""
    offset = _look_up(arguments, arguments["timestamp"])
    if offset == _NONE_FOUND:
        return {"offset": None}
    _read(arguments, "-C", "-t", arguments["topic"], "-p", "0", "-o", f"s@{arguments['timestamp']}")
    return {"offset": offset}


def _bounds(arguments: Mapping[str, str]) -> dict[str, Any]:
    return {"begin": _look_up(arguments, _EARLIEST), "end": _look_up(arguments, _LATEST)}


def _look_up(arguments: Mapping[str, str], timestamp: str) -> int:
    answer = _kcat(arguments, "-Q", "-t", f"{arguments['topic']}:0:{timestamp}").decode()
    found = re.search(r"\[0\] offset (-?\d+)", answer)
    if found is None:
        raise RuntimeError(f"kcat answered {answer!r}")
    return int(found.group(1))


def _topics(arguments: Mapping[str, str]) -> dict[str, Any]:
    listed = json.loads(_kcat(arguments, "-L", "-J"))
    return {"topics": sorted(topic["topic"] for topic in listed["topics"])}


if __name__ == "__main__":
    serve(
        {
            "group": _group,
            "assign": _assign,
            "assign_time": _assign_time,
            "bounds": _bounds,
            "topics": _topics,
        }
    )
