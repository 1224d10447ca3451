"""Kafka 1.1.1's own reader and writer of messages, as a process: an oracle of ours for every API and version.

`java/KafkaMessages.java` says what a line asks and what it answers. `python -m tests.interop.kafka_codec` writes the
golden messages anew, which the core suite reads without Java.
"""

from __future__ import annotations

import json
import subprocess
from typing import Any, Final, Self

from tests.broker.api_values import EVERY_VERSION
from tests.broker.golden_messages import ELEMENTS, FILE, Golden, write_golden
from tests.interop import java_clients

VERSION: Final = "1.1.1"


class CodecError(Exception):
    """Kafka's classes refuse a message; the text is theirs."""


class KafkaCodec:
    """The running process; a context manager that ends it."""

    def __init__(self, command: tuple[str, ...]) -> None:
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, encoding="ascii"
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()

    def made(self) -> list[Golden]:
        """Messages of made-up values, of every API and version."""
        return [
            Golden(api.key, kind, version, elements, *self._ask("make", api.key, kind, version, elements))
            for api, version in EVERY_VERSION
            for kind in "QR"
            for elements in ELEMENTS
        ]

    def read(self, key: int, kind: str, version: int, body: bytes) -> tuple[bytes, Any]:
        """Read a body that ends with its last field: its bytes as written again, its values. Raises CodecError."""
        return self._ask("read", key, kind, version, body.hex())

    def _ask(self, *words: object) -> tuple[bytes, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(" ".join(map(str, words)) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if answer.startswith("error: ") or not answer:
            raise CodecError(answer.strip() or "the process ended")
        body, values = answer.split(" ", 1)
        return bytes.fromhex(body), json.loads(values)


if __name__ == "__main__":
    with KafkaCodec(java_clients.messages_command(VERSION)) as running:
        FILE.write_text(write_golden(running.made()), encoding="ascii")
