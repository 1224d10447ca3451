"""The scenarios of kcat (librdkafka): one kcat run per scenario, behind the same line protocol as the other clients.

The command that starts kcat is the arguments of this process. Records leave kcat as ``offset timestamp key-size
value-size``, a line feed, then key and value bytes, so that any bytes survive. The password goes in by a file, never by
a command line. What kcat's options cannot express (commit metadata, asking for a committed offset, the answer of a
look-up without reading) is not offered here.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.interop.scenario_loop import emit_record, serve

_FORMAT = "%o %T %K %S\\n%k%s"


def _configuration(arguments: Mapping[str, str]) -> str:
    settings = {
        "bootstrap.servers": arguments["bootstrap"],
        "security.protocol": "sasl_plaintext",
        "sasl.mechanisms": "PLAIN",
        "sasl.username": arguments["username"],
        "sasl.password": arguments["password"],
        "session.timeout.ms": "10000",
        "auto.offset.reset": "earliest",
        "check.crcs": "true",
        "max.partition.fetch.bytes": arguments.get("partition_bytes", "1048576"),
    }
    return "".join(f"{key}={value}\n" for key, value in settings.items())


def _kcat(arguments: Mapping[str, str], *mode: str) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="kcat-") as folder:
        configuration = Path(folder, "kcat.conf")
        configuration.write_text(_configuration(arguments), encoding="utf-8")
        configuration.chmod(0o600)
        command = [*sys.argv[1:], "-q", "-F", str(configuration), "-c", arguments["count"], "-f", _FORMAT, *mode]
        finished = subprocess.run(
            command, capture_output=True, timeout=int(arguments["deadline_ms"]) / 1000, check=False
        )
    if finished.returncode:
        raise RuntimeError(finished.stderr.decode("utf-8", "replace").strip())
    return {"count": _emit_records(finished.stdout)}


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
    return _kcat(arguments, "-G", arguments["group"], arguments["topic"])


def _assign(arguments: Mapping[str, str]) -> dict[str, Any]:
    return _kcat(arguments, "-C", "-t", arguments["topic"], "-p", "0", "-o", arguments["offset"])


def _assign_time(arguments: Mapping[str, str]) -> dict[str, Any]:
    return _kcat(arguments, "-C", "-t", arguments["topic"], "-p", "0", "-o", f"s@{arguments['timestamp']}")


if __name__ == "__main__":
    serve({"group": _group, "assign": _assign, "assign_time": _assign_time})
