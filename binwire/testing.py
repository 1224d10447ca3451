"""A broker for tests: a real server in a process of its own, whose changes come by call instead of from a database.

    from binwire.testing import EmbeddedBroker

    with EmbeddedBroker() as broker:
        channel = broker.channel()
        orders = channel.table("CREATE TABLE orders (id BIGINT PRIMARY KEY, note VARCHAR(40))")
        orders.insert(id=1, note="first")
        consumer = KafkaConsumer(channel.topic, group_id=channel.sid, **channel.kafka_python())

Changes are encoded as binlog events and go through the same code as those of a live MySQL. The server ends when the
broker is closed, and by itself when the process that started it is gone. Standard library only, and nothing of the
server is imported here: whatever packages a project has, they meet none of ours.
"""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
import sys
import tempfile
import threading
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final, Self

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import TracebackType

    Row = Mapping[str, Any]

_ANSWER_TIMEOUT_S: Final = 60.0
_END_TIMEOUT_S: Final = 10.0
_ERROR_BYTES_SHOWN: Final = 4096


class EmbeddedBrokerError(Exception):
    """The server did not start, ended, or refused a call; the message says which and why."""


class EmbeddedBroker:
    """A server process. Use it as a context manager, or `close()` it; ready to serve when the constructor returns."""

    def __init__(self) -> None:
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 — open as long as the broker is
        self._lock = threading.Lock()
        self._last_id = 0
        self._process = _start(self._errors)
        self._folder: str | None = None
        try:
            ready = self._answer()["ready"]
        except BaseException:
            self.close()
            raise
        self.host: str = ready["host"]
        self.port: int = ready["port"]
        self._folder = ready["folder"]

    @property
    def bootstrap_servers(self) -> str:
        """`host:port` of the listener, as Kafka clients take it."""
        return f"{self.host}:{self.port}"

    def channel(self, *statements: str, database: str = "test", objects: Sequence[str] | None = None) -> Channel:
        """A fresh channel with a topic and a consumer group of its own.

        `statements` are run first, in the default database `database`, and arrive as DDL records. `objects` are the
        databases and tables (`db`, `db.table`) to track; by default everything.
        """
        result = self._call(
            "channel", statements=list(statements), database=database, objects=None if objects is None else [*objects]
        )
        return Channel(self, result)

    def close(self) -> None:
        """End the server and wait until it is gone; closing twice is harmless."""
        process = self._process
        for pipe in (process.stdin, process.stdout):
            assert pipe is not None
            _close_quietly(pipe)
        try:
            process.wait(_END_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        self._errors.close()
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _call(self, call: str, **arguments: Any) -> dict[str, Any]:
        with self._lock:
            self._last_id += 1
            request = {"id": self._last_id, "call": call, "with": arguments}
            assert self._process.stdin is not None
            try:
                self._process.stdin.write(json.dumps(request, default=_encoded).encode() + b"\n")
                self._process.stdin.flush()
            except (OSError, ValueError):
                raise self._ended() from None
            answer = self._answer()
        if "error" in answer:
            raise EmbeddedBrokerError(answer["error"])
        result: dict[str, Any] = answer["result"]
        return result

    def _answer(self) -> dict[str, Any]:
        """The server's next line. A server that says nothing for `_ANSWER_TIMEOUT_S` is ended, which ends the wait."""
        assert self._process.stdout is not None
        watchdog = threading.Timer(_ANSWER_TIMEOUT_S, self._process.kill)
        watchdog.daemon = True
        watchdog.start()
        try:
            line = self._process.stdout.readline()
        except ValueError:
            line = b""
        finally:
            watchdog.cancel()
        if not line:
            raise self._ended()
        answer: dict[str, Any] = json.loads(line)
        return answer

    def _ended(self) -> EmbeddedBrokerError:
        if self._errors.closed:
            return EmbeddedBrokerError("the embedded broker is closed")
        status = self._process.wait(_END_TIMEOUT_S)
        size = self._errors.seek(0, 2)
        self._errors.seek(max(0, size - _ERROR_BYTES_SHOWN))
        said = self._errors.read().decode("utf-8", "replace").strip()
        return EmbeddedBrokerError(f"the embedded broker ended with status {status}: {said or 'it said nothing'}")


class Channel:
    """One topic, its consumer group, and the way to make changes appear in it.

    Rows are mappings of column names to values: int, float, str, bytes, Decimal, datetime, date, time, timedelta, a set
    of labels, None. Zero dates and a time of day beyond 24 hours can be given as text. Columns left out are NULL.
    Every call is one transaction and returns when consumers can see it; `timestamp_s` (Unix seconds) is its time at
    the source, by default now.
    """

    def __init__(self, broker: EmbeddedBroker, values: Mapping[str, str]) -> None:
        self._broker = broker
        self._name = values["channel"]
        self.topic = values["topic"]
        self.sid = values["sid"]
        """The consumer group's id, the only `group_id` that this channel's account may use."""
        self.username = values["username"]
        self.password = values["password"]

    @property
    def login(self) -> str:
        """The SASL user name, `<username>-<sid>`."""
        return f"{self.username}-{self.sid}"

    def table(self, sql: str, *, timestamp_s: int | None = None) -> Table:
        """Run one CREATE TABLE statement, which arrives as a DDL record; the table, to change its rows by."""
        return Table(self, self._change("table", sql=sql, timestamp_s=timestamp_s)["table"])

    def ddl(self, sql: str, *, timestamp_s: int | None = None) -> None:
        """Run any statement that changes the schema; it arrives as a DDL record."""
        self._change("statement", sql=sql, timestamp_s=timestamp_s)

    def insert(self, table: str, *rows: Row, timestamp_s: int | None = None) -> None:
        """Insert rows."""
        self._change("insert", table=table, rows=[dict(row) for row in rows], timestamp_s=timestamp_s)

    def update(self, table: str, *pairs: tuple[Row, Row], timestamp_s: int | None = None) -> None:
        """Update rows, each given as it was and as it is."""
        rows = [[dict(before), dict(after)] for before, after in pairs]
        self._change("update", table=table, rows=rows, timestamp_s=timestamp_s)

    def delete(self, table: str, *rows: Row, timestamp_s: int | None = None) -> None:
        """Delete rows, given as they were."""
        self._change("delete", table=table, rows=[dict(row) for row in rows], timestamp_s=timestamp_s)

    def heartbeat(self, *, timestamp_s: int | None = None) -> None:
        """Write one HEARTBEAT record."""
        self._change("heartbeat", timestamp_s=timestamp_s)

    def kafka_python(self) -> dict[str, Any]:
        """Settings for kafka-python's `KafkaConsumer(channel.topic, group_id=channel.sid, **settings)`."""
        return {
            "bootstrap_servers": self._broker.bootstrap_servers,
            "security_protocol": "SASL_PLAINTEXT",
            "sasl_mechanism": "PLAIN",
            "sasl_plain_username": self.login,
            "sasl_plain_password": self.password,
            "auto_offset_reset": "earliest",
            "api_version": (1, 0, 0),
        }

    def _change(self, call: str, **arguments: Any) -> dict[str, Any]:
        return self._broker._call(call, channel=self._name, **arguments)


class Table:
    """A table of a channel. A row is given as a mapping, or as keyword arguments if there is only one."""

    def __init__(self, channel: Channel, name: str) -> None:
        self._channel = channel
        self.name = name
        """`table`, or `database.table` if the statement named the database."""

    def insert(self, *rows: Row, timestamp_s: int | None = None, **columns: Any) -> None:
        """Insert rows in one transaction."""
        self._channel.insert(self.name, *_rows(rows, columns), timestamp_s=timestamp_s)

    def update(self, *pairs: tuple[Row, Row], timestamp_s: int | None = None) -> None:
        """Update rows in one transaction, each given as it was and as it is."""
        self._channel.update(self.name, *pairs, timestamp_s=timestamp_s)

    def delete(self, *rows: Row, timestamp_s: int | None = None, **columns: Any) -> None:
        """Delete rows in one transaction, given as they were."""
        self._channel.delete(self.name, *_rows(rows, columns), timestamp_s=timestamp_s)


def _rows(rows: tuple[Row, ...], columns: Row) -> tuple[Row, ...]:
    return (*rows, columns) if columns else rows


def _start(errors: IO[bytes]) -> subprocess.Popen[bytes]:
    """The server, by the path of its entry point: it needs no name on anybody's import path."""
    entry_point = Path(__file__).resolve().parent / "__main__.py"
    return subprocess.Popen(  # noqa: S603 — this interpreter and our own file
        [sys.executable, "-P", str(entry_point), "fixture"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=errors,
    )


def _close_quietly(pipe: IO[bytes]) -> None:
    try:
        pipe.close()
    except OSError:
        # The server is gone and with it what was not read: there is nothing left to close.
        return


def _encoded(value: object) -> dict[str, Any] | list[Any]:
    """What JSON cannot say, as broker/fixture.py reads it; the labels of a SET as a list."""
    if isinstance(value, (bytes, bytearray, memoryview)):
        return {"$bytes": base64.b64encode(value).decode()}
    if isinstance(value, Decimal):
        return {"$decimal": str(value)}
    if isinstance(value, datetime):
        return {"$datetime": value.isoformat()}
    if isinstance(value, date):
        return {"$date": value.isoformat()}
    if isinstance(value, time):
        return {"$time": value.isoformat()}
    if isinstance(value, timedelta):
        return {"$timedelta_us": value // timedelta(microseconds=1)}
    if isinstance(value, (set, frozenset)):
        return list(value)
    raise TypeError(f"a value of type {type(value).__name__} cannot be a column's value")
