"""The scenarios of Strimzi's HTTP bridge: a bridge of our own, asked over HTTP, behind the same line protocol.

The command that starts the bridge is the arguments of this process. A bridge has one login for all that it does, so it
is started anew for another one; its consumers are created and deleted by each scenario. The password goes in by a file,
never by a command line. What its HTTP API cannot express (a look-up by time, commit metadata, asking for a committed
offset) is not offered here.
"""

from __future__ import annotations

import base64
import contextlib
import json
import re
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import IO, Any

from tests.interop.scenario_loop import emit_record, serve

_JSON = "application/vnd.kafka.v2+json"
_RECORDS = "application/vnd.kafka.binary.v2+json"
_LISTENING = re.compile(r"HTTP-Kafka Bridge started and listening on port (\d+)")
_POLL_MS = 200
_REQUEST_TIMEOUT_S = 60


class BridgeError(Exception):
    """An answer that is not 2xx; the message is the bridge's own."""


class Bridge:
    """A running bridge of one configuration."""

    def __init__(self, configuration: str) -> None:
        self.configuration = configuration
        with tempfile.TemporaryDirectory(prefix="bridge-") as folder:
            file = Path(folder, "application.properties")
            file.touch(mode=0o600)
            file.write_text(configuration, encoding="utf-8")
            self._process = subprocess.Popen(
                [*sys.argv[1:], "--config-file", str(file)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=sys.stderr,
                encoding="utf-8",
            )
            assert self._process.stdout is not None
            self._port = _port(self._process.stdout)
        threading.Thread(target=_log, args=(self._process.stdout,), daemon=True).start()

    def close(self) -> None:
        self._process.terminate()
        self._process.wait()

    def call(self, method: str, path: str, body: object = None, accept: str = _JSON) -> Any:
        """The answer to a request, decoded; None if it is empty."""
        request = urllib.request.Request(
            f"http://127.0.0.1:{self._port}{path}",
            data=None if body is None else json.dumps(body).encode(),
            headers={"Accept": accept, **({} if body is None else {"Content-Type": _JSON})},
            method=method,
        )
        try:
            with urllib.request.urlopen(request, timeout=_REQUEST_TIMEOUT_S) as response:
                answer = response.read()
        except urllib.error.HTTPError as error:
            raise BridgeError(_message(error.read())) from None
        return json.loads(answer) if answer else None


def _port(output: IO[str]) -> int:
    for line in output:
        sys.stderr.write(line)
        listening = _LISTENING.search(line)
        if listening:
            return int(listening.group(1))
    raise BridgeError("the bridge ended before it listened")


def _log(output: IO[str]) -> None:
    for line in output:
        sys.stderr.write(line)


def _message(answer: bytes) -> str:
    return str(json.loads(answer)["message"])


def _configuration(arguments: Mapping[str, str]) -> str:
    """Timeouts and the fetch limit of consumers are the bridge's to say, not those of whoever creates one."""
    settings = {
        "bridge.id": "interop",
        "http.host": "127.0.0.1",
        "http.port": "0",
        "kafka.bootstrap.servers": arguments["bootstrap"],
        "kafka.security.protocol": arguments["security"],
        "kafka.sasl.mechanism": "PLAIN",
        "kafka.sasl.jaas.config": "org.apache.kafka.common.security.plain.PlainLoginModule required "
        f'username="{arguments["username"]}" password="{arguments["password"]}";',
        "kafka.consumer.session.timeout.ms": arguments["session_timeout_ms"],
        "kafka.consumer.heartbeat.interval.ms": str(int(arguments["session_timeout_ms"]) // 10),
        "kafka.consumer.max.partition.fetch.bytes": arguments.get("partition_bytes", "1048576"),
    }
    if arguments["security"] == "SASL_SSL":
        settings["kafka.ssl.truststore.type"] = "PKCS12"
        settings["kafka.ssl.truststore.location"] = arguments["truststore"]
        settings["kafka.ssl.truststore.password"] = arguments["truststore_password"]
    return "".join(f"{key}={value}\n" for key, value in settings.items())


class Bridges:
    """The bridge of the last scenario, kept for the next one with the same login."""

    def __init__(self) -> None:
        self._running: Bridge | None = None

    def of(self, arguments: Mapping[str, str]) -> Bridge:
        configuration = _configuration(arguments)
        if self._running is None or self._running.configuration != configuration:
            self.close()
            self._running = Bridge(configuration)
        return self._running

    def close(self) -> None:
        if self._running is not None:
            self._running.close()
            self._running = None


class Consumer:
    """A consumer that the bridge holds for us."""

    def __init__(self, bridge: Bridge, arguments: Mapping[str, str]) -> None:
        self._bridge = bridge
        self._arguments = arguments
        group = f"/consumers/{arguments['group']}"
        consumer = {
            "name": arguments["client_id"],
            "format": "binary",
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
        }
        self._path = f"{group}/instances/{bridge.call('POST', group, consumer)['instance_id']}"

    def close(self) -> None:
        self._bridge.call("DELETE", self._path)

    def subscribe(self) -> None:
        self._post("subscription", {"topics": [self._arguments["topic"]]})

    def assign(self, offset: int) -> None:
        partition = {"topic": self._arguments["topic"], "partition": 0}
        self._post("assignments", {"partitions": [partition]})
        self._post("positions", {"offsets": [{**partition, "offset": offset}]})

    def poll(self) -> list[dict[str, Any]]:
        path = f"{self._path}/records?timeout={_POLL_MS}"
        records: list[dict[str, Any]] = self._bridge.call("GET", path, accept=_RECORDS)
        return records

    def read(self) -> dict[str, Any]:
        """Read exactly ``count`` records, or fail at the deadline; then commit behind the last if metadata is given."""
        wanted, seen, following = int(self._arguments["count"]), 0, -1
        deadline = time.monotonic() + int(self._arguments["deadline_ms"]) / 1000
        while seen < wanted:
            if time.monotonic() > deadline:
                raise TimeoutError(f"read {seen} of {wanted} records before the deadline")
            for record in self.poll()[: wanted - seen]:
                emit_record(record["offset"], record["timestamp"], _bytes(record["key"]), _bytes(record["value"]))
                seen, following = seen + 1, record["offset"] + 1
        if "metadata" in self._arguments:
            committed = {"topic": self._arguments["topic"], "partition": 0, "offset": following}
            self._post("offsets", {"offsets": [committed]})
        return {"count": seen}

    def _post(self, what: str, body: object) -> None:
        self._bridge.call("POST", f"{self._path}/{what}", body)


def _bytes(text: str | None) -> bytes | None:
    return None if text is None else base64.b64decode(text)


@contextlib.contextmanager
def _consumer(bridge: Bridge, arguments: Mapping[str, str]) -> Iterator[Consumer]:
    consumer = Consumer(bridge, arguments)
    try:
        yield consumer
    finally:
        consumer.close()


def _group(bridge: Bridge, arguments: Mapping[str, str]) -> dict[str, Any]:
    with _consumer(bridge, arguments) as consumer:
        consumer.subscribe()
        return consumer.read()


def _hold(bridge: Bridge, arguments: Mapping[str, str]) -> dict[str, Any]:
    """As a group, but polling goes on until the process is killed, and the bridge with it."""
    consumer = Consumer(bridge, arguments)
    consumer.subscribe()
    result = consumer.read()

    def poll_on() -> None:
        while True:
            consumer.poll()

    threading.Thread(target=poll_on, daemon=True).start()
    return result


def _assign(bridge: Bridge, arguments: Mapping[str, str]) -> dict[str, Any]:
    with _consumer(bridge, arguments) as consumer:
        consumer.assign(int(arguments["offset"]))
        return consumer.read()


def _bounds(bridge: Bridge, arguments: Mapping[str, str]) -> dict[str, Any]:
    answer = bridge.call("GET", f"/topics/{arguments['topic']}/partitions/0/offsets")
    return {"begin": answer["beginning_offset"], "end": answer["end_offset"]}


def _topics(bridge: Bridge, arguments: Mapping[str, str]) -> dict[str, Any]:
    return {"topics": sorted(bridge.call("GET", "/topics"))}


_SCENARIOS: Mapping[str, Callable[[Bridge, Mapping[str, str]], dict[str, Any]]] = {
    "group": _group,
    "hold": _hold,
    "assign": _assign,
    "bounds": _bounds,
    "topics": _topics,
}


def main() -> None:
    with contextlib.closing(Bridges()) as bridges:

        def run(name: str, arguments: Mapping[str, str]) -> dict[str, Any]:
            return _SCENARIOS[name](bridges.of(arguments), arguments)

        serve({name: partial(run, name) for name in _SCENARIOS})


if __name__ == "__main__":
    main()
