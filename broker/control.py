"""What the broker may ask of capture, and the command line's way into a running server.

Owns `ChannelControl`, the one interface behind which channels live (`broker/channels.py` implements it, over what
`broker/app.py` takes from `capture`), and `control.sock`: a Unix socket with mode 0600 in the data directory, where
whoever may read the directory may ask.

Protocol: one request per connection, JSON lines in both directions, UTF-8.

    {"request": "status"}            -> {"status": {"listeners": {…}, "channels": [{…}], "incidents": [{…}]}}
    {"request": "tail", "topic": "…", "back": 100, "from_ms": null, "follow": true}
                                     -> {"record": {"offset": 7, "timestamp_ms": …, "value": "<base64>"}} …,
                                        {"caught_up": 107} once when the records that were there have been sent,
                                        {"end": 107} when nothing more comes
    {"request": "record", "topic": "…", "offset": 7}
                                     -> {"before": {…}} if there is a record before it, {"record": {…}} as in tail
    {"request": "operation", "name": "list_channels", "arguments": {…}}
                                     -> {"result": …} as the operation of that name gives it (`broker/operations/`), or
                                        {"error": "one sentence", "refusal": "…", "field": …, "details": …}
    {"request": "reload"}            -> {"reloaded": "one sentence about what changed",
                                         "refused": ["why objects of the file are not in force", …]}
    anything that cannot be done     -> {"error": "one sentence"}

`back` counts offsets before the end; `from_ms` (Unix epoch milliseconds, source time) takes its place if it is given.
Who asks for an operation is told to the audit log as the user whose process the kernel says is at the other end.
Records travel undecoded: decoding for people costs time that belongs to the command, not to the server's loop.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import importlib
import json
import os
import select
import socket
import struct
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING, Any, Final, Protocol

from msgspec import Struct, to_builtins

from broker.config_rules import ConfigError
from storage.errors import StorageError
from storage.log import resident
from storage.scheduler import give_way

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from broker.config import Secret
    from broker.operations.plane import ControlPlane
    from storage.log import LogReader
    from storage.records import Record

REQUEST_BYTES_MAX: Final = 1 << 20  # an operation may take as much over HTTP: the objects of a channel are a list
TAIL_READ_BYTES: Final = 256 << 10  # of the log at a time; the next is read when the client has taken these
SOCKET_MODE: Final = 0o600
SOCKET_PATH_BYTES_MAX: Final = 100  # sun_path holds 108 on Linux, 104 elsewhere
PIECES_AT_ONCE: Final = 500
_RECEIVE_BYTES: Final = 256 << 10
_SIGNAL_UNSEEN_S: Final = 1.0
_REQUESTS: Final = "status, tail, record, operation and reload"
_CREDENTIALS: Final = struct.Struct("3i")  # struct ucred of Linux: process, user, group


class ControlError(Exception):
    """The running server cannot be asked, or said no; one sentence for the person who asked. `answer` is all it said,
    if it did.
    """

    def __init__(self, sentence: str, answer: Mapping[str, Any] | None = None) -> None:
        super().__init__(sentence)
        self.answer = answer


class PrecheckItem(Struct, frozen=True):
    """One row of a precheck: what was looked at, how it came out (`passed`, `warning`, `failed`), and what was found.

    What that means and the statement or line that mends it, one on each line, are None for what passed. `addresses` are
    those that the source's whitelist must admit, of an item that is about them.
    """

    name: str
    outcome: str
    found: str
    means: str | None = None
    remedy: str | None = None
    addresses: tuple[str, ...] = ()


class MemberView(Struct, frozen=True):
    """A client of a consumer group. `is_active` False: it stands by, for the group reads one partition; `since_ms` is
    when it joined, None if that is not known.
    """

    member_id: str
    client_id: str
    address: str
    is_active: bool
    since_ms: int | None


class GroupView(Struct, frozen=True):
    """A consumer group and how far it has come; `offset` and what follows from it are None before the first commit.

    `consume_timestamp_ms` is the source time up to which it has consumed; `remaining` messages and `delay_s` are -1
    while no client is connected. `defined_by`: see `ChannelView`.
    """

    id: str
    name: str
    username: str
    offset: int | None
    metadata: str | None
    behind: int | None
    consume_timestamp_ms: int | None = None
    remaining: int = -1
    delay_s: int = -1
    members: tuple[MemberView, ...] = ()
    connections: int = 0
    defined_by: str = "file"


class SourceView(Struct, frozen=True, kw_only=True):
    """A source that is a server, as a call names it, without its password; several hosts stand with commas between."""

    kind: str
    host: str
    username: str
    port: int = 3306
    tls: str = "preferred"
    tls_ca: str | None = None
    tls_cert: str | None = None
    tls_key: str | None = None


class ProgressView(Struct, frozen=True):
    """What an initial change tracking does, in one sentence, and which part of it is done, None if that is unknown."""

    sentence: str
    fraction: float | None = None


class DiskView(Struct, frozen=True):
    """What a channel's log takes of its disk, as it was some seconds ago; rates are of bytes on disk.

    `needed_bytes` is what its retention comes to at this rate, None if nothing bounds it. `warning` speaks of all logs
    on the disk, None if it will hold them.
    """

    used_bytes: int
    needed_bytes: int | None
    free_bytes: int
    bytes_per_s: float
    warning: str | None


class ChannelView(Struct, frozen=True):
    """What is known about a channel at this moment. Times are source time, Unix epoch milliseconds.

    A channel that stands still says why in `reason`; `retried_until_ms` None means then that somebody has to act.
    Everything below `durable_offset` was flushed; `disk` is None before the first look; `damages` are the places of the
    log that readers came by and that are not what was written; `refused_objects` says why those asked for last are not
    in force.

    `defined_by` is `file`, `operation`, or `none` for a channel that left the file and of which only the data is left.
    `operations` names what is allowed now (`broker/lifecycle.py`). `precheck` has the items of the last one and
    `prechecked_ms` when it was, None before the first; `consumption_checkpoint_ms` is the oldest consume timestamp of
    its groups, `silent_ms` how long the source has not been heard. `records`, `transactions`, `reconnects` and
    `committed_bytes` count since the server started.
    """

    id: str
    name: str
    topic: str
    source: str
    state: str
    reason: str | None
    retried_until_ms: int | None
    start_offset: int
    high_watermark: int
    start_timestamp_ms: int | None
    end_timestamp_ms: int | None
    position: str | None
    records_per_s: float
    lag_ms: int | None
    durable_offset: int
    disk: DiskView | None
    damages: tuple[str, ...]
    refused_objects: str | None
    groups: tuple[GroupView, ...]
    defined_by: str = "file"
    region: str | None = None
    instance_id: str | None = None
    objects: tuple[str, ...] = ()
    data_types: tuple[str, ...] = ()
    start: str = "now"
    retention_ms: int = 24 * 3_600_000
    created_ms: int = 0
    operations: tuple[str, ...] = ()
    precheck: tuple[PrecheckItem, ...] | None = None
    prechecked_ms: int | None = None
    progress: ProgressView | None = None
    consumption_checkpoint_ms: int | None = None
    silent_ms: int | None = None
    whitelist_addresses: tuple[str, ...] = ()
    source_parts: SourceView | None = None
    records: int = 0
    transactions: int = 0
    reconnects: int = 0
    committed_bytes: int = 0


class ChannelControl(Protocol):
    """Everything the broker may ask of capture. Channels go by their id; `KeyError` for an unknown one."""

    def views(self) -> Sequence[ChannelView]:
        """All channels, in the order of the configuration."""

    def view(self, channel_id: str) -> ChannelView:
        """One channel: all of them take a while."""

    def find_log(self, topic: str) -> LogReader | None:
        """The log behind a topic, None if no channel has it."""

    async def precheck(self, channel_id: str) -> Sequence[PrecheckItem]:
        """Look at the source again, without changing anything."""

    async def start_channel(self, channel_id: str) -> None:
        """Start a channel that is stopped; nothing happens if it runs."""

    async def stop_channel(self, channel_id: str) -> None:
        """Stop a channel at the next transaction boundary and keep its data."""

    def source_address(self, channel_id: str) -> Secret:
        """The address of the channel's source, its password in it; `KeyError` also if only data is left of it."""


class ControlServer:
    """Answers on the control socket of a data directory; `listeners` tells the bound addresses by name, `reload`
    reads the configuration again and says what it changed.
    """

    def __init__(
        self,
        path: Path,
        channels: ChannelControl,
        listeners: Callable[[], Mapping[str, str]],
        reload: Callable[[], Awaitable[str]],
        plane: Callable[[], ControlPlane] | None = None,
        incidents: Callable[[], Sequence[Struct]] = tuple,
        load: Callable[[], object] = bool,
    ) -> None:
        """`plane` gives what operations work on, when the first is asked for, `incidents` those that go on; `load`,
        called in a thread before the first, loads what `plane` needs.
        """
        self._plane = plane
        self._load = load
        self._incidents = incidents
        self._path = path
        self._channels = channels
        self._listeners = listeners
        self._reload = reload
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Listen, in place of what an earlier run may have left behind."""
        self._path.unlink(missing_ok=True)
        listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        with _short(self._path) as address:
            listening.bind(address)
        self._path.chmod(SOCKET_MODE)
        self._server = await asyncio.start_unix_server(self._accept, sock=listening, limit=REQUEST_BYTES_MAX)

    async def close(self) -> None:
        """Stop listening and end the conversations that are open."""
        if self._server is not None:
            self._server.close()
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._path.unlink(missing_ok=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            await self._converse(reader, _Lines(writer), writer.get_extra_info("socket"))
        except (ConnectionError, asyncio.CancelledError):
            # The other side went away, or the server ends: there is nobody to tell.
            pass
        finally:
            self._tasks.discard(task)
            writer.close()

    async def _converse(self, reader: asyncio.StreamReader, lines: _Lines, peer: socket.socket) -> None:
        try:
            request = json.loads(await reader.readline())
            if not isinstance(request, dict):
                raise ControlError("a request is a JSON object")
            match request.get("request"):
                case "status":
                    await lines.send({"status": await resident(self._status)})
                case "tail":
                    await self._tail(request, reader, lines)
                case "record":
                    await self._record(request, lines)
                case "operation":
                    await self._operation(request, lines, peer)
                case "reload":
                    reloaded = await self._reload()
                    refused = [
                        view.refused_objects for view in await resident(self._channels.views) if view.refused_objects
                    ]
                    await lines.send({"reloaded": reloaded, "refused": refused})
                case other:
                    raise ControlError(f"there is no request {other!r}; there are {_REQUESTS}")
        except (ConfigError, ControlError, StorageError) as error:
            await lines.send({"error": str(error)})
        except ValueError as error:
            await lines.send(
                {"error": f"the request is not one line of JSON of at most {REQUEST_BYTES_MAX} bytes: {error}"}
            )

    def _status(self) -> dict[str, Any]:
        return {
            "listeners": dict(self._listeners()),
            "channels": [to_builtins(view) for view in self._channels.views()],
            "incidents": [to_builtins(incident) for incident in self._incidents()],
        }

    async def _tail(self, request: dict[str, Any], reader: asyncio.StreamReader, lines: _Lines) -> None:
        log = self._channels.find_log(str(request.get("topic")))
        if log is None:
            raise ControlError(f"there is no topic {request.get('topic')!r}; `binwire status` lists the topics")
        offset = await resident(lambda: _first_offset(log, request))
        grown = asyncio.Event()
        unsubscribe = log.subscribe(grown.set)
        gone = asyncio.ensure_future(reader.read())
        try:
            offset = await _send_visible(log, offset, lines)
            await lines.send({"caught_up": offset})
            while request.get("follow"):
                growth = asyncio.ensure_future(grown.wait())
                await asyncio.wait((growth, gone), return_when=asyncio.FIRST_COMPLETED)
                growth.cancel()
                if gone.done():
                    return
                grown.clear()
                offset = await _send_visible(log, offset, lines)
            await lines.send({"end": offset})
        finally:
            unsubscribe()
            gone.cancel()

    async def _record(self, request: dict[str, Any], lines: _Lines) -> None:
        """One record, and the one before it: where that ended, this one's event may begin."""
        log, offset = self._channels.find_log(str(request.get("topic"))), request.get("offset")
        if log is None:
            raise ControlError(f"there is no topic {request.get('topic')!r}; `binwire status` lists the topics")
        first, end = log.log_start_offset, log.high_watermark
        if not isinstance(offset, int) or not first <= offset < end:
            raise ControlError(f"there is no offset {offset!r} in {log.topic}, which has {first} to {end - 1}")
        if offset > first and (before := await resident(partial(_record_at, log, offset - 1))) is not None:
            await lines.send({"before": before})
        found = await resident(partial(_record_at, log, offset))
        if found is None:
            raise ControlError(f"the offset {offset} of {log.topic} is in a gap: no record has it")
        await lines.send({"record": found})

    async def _operation(self, request: dict[str, Any], lines: _Lines, peer: socket.socket) -> None:
        if self._plane is None:
            raise ControlError("this server has no operations")
        await asyncio.to_thread(self._load)
        loading = await asyncio.to_thread(importlib.import_module, "broker.operations.loading")
        await asyncio.to_thread(loading.load)
        from broker.operations.operation import (
            Caller,
            Download,
            OperationError,
            Refusal,
            call,
            encoded,
            refusal_document,
        )
        from broker.operations.table import BY_NAME

        operation, given = BY_NAME.get(str(request.get("name"))), request.get("arguments", {})
        if operation is None or not isinstance(given, dict):
            raise ControlError(f"there is no operation {request.get('name')!r} that takes {type(given).__name__}")
        caller = Caller(await asyncio.to_thread(_user, peer), "command", "control socket")
        try:
            result = await call(self._plane(), operation, given, caller)
            if isinstance(result, Download):
                raise OperationError(Refusal.INVALID, f"{operation.name} gives a file, which is asked for over HTTP")
        except OperationError as error:
            await lines.send(refusal_document(error))
        else:
            await lines.send_pieces(chain((b'{"result":',), encoded(result), (b"}",)))


class _Lines:
    """JSON lines to one client, never more than it takes."""

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self._writer = writer

    async def send(self, document: Mapping[str, Any]) -> None:
        self._writer.write(json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode() + b"\n")
        await self._writer.drain()

    async def send_pieces(self, pieces: Iterable[bytes]) -> None:
        """A line that is made piece by piece, other work of the loop between them."""
        for index, piece in enumerate(pieces, start=1):
            self._writer.write(piece)
            if index % PIECES_AT_ONCE == 0:
                await self._writer.drain()
                await give_way()
        self._writer.write(b"\n")
        await self._writer.drain()


def _user(peer: socket.socket) -> str:
    """The user at the other end of a Unix socket, by name where it has one."""
    import pwd

    if not hasattr(socket, "SO_PEERCRED"):
        return "local user"  # macOS tells it in another way
    _, user, _ = _CREDENTIALS.unpack(peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size))
    try:
        return pwd.getpwuid(user).pw_name
    except KeyError:
        return f"user {user}"


def _first_offset(log: LogReader, request: Mapping[str, Any]) -> int:
    from_ms, back = request.get("from_ms"), request.get("back")
    if isinstance(from_ms, int):
        found = log.offset_for_timestamp(from_ms)
        return log.high_watermark if found is None else found[0]
    if not isinstance(back, int) or back < 0:
        raise ControlError(f"back is {back!r}; it is a number of records before the end")
    return max(log.log_start_offset, log.high_watermark - back)


def _copy(log: LogReader, offset: int) -> bytes:
    with log.read(offset, TAIL_READ_BYTES) as part:
        return bytes(part.view)


def _record_at(log: LogReader, offset: int) -> dict[str, Any] | None:
    """The record with this offset as it is sent, None where a gap is."""
    from storage.records import iter_batches, iter_records

    with log.read(offset, 1) as part:
        data = bytes(part.view)
    for batch in iter_batches(data):
        for record in iter_records(batch):
            if record.offset == offset:
                return _fields(record)
    return None


def _fields(record: Record) -> dict[str, Any]:
    """A record for the line that carries it."""
    value = base64.b64encode(record.value or b"").decode()
    return {"offset": record.offset, "timestamp_ms": record.timestamp_ms, "value": value}


async def _send_visible(log: LogReader, offset: int, lines: _Lines) -> int:
    """Send everything visible from `offset` on; returns the next offset."""
    from storage.records import iter_batches, iter_records

    while offset < log.high_watermark:
        data = await resident(partial(_copy, log, offset))
        if not data:
            return offset
        for batch in iter_batches(data):
            for record in iter_records(batch):
                if record.offset >= offset:
                    await lines.send({"record": _fields(record)})
            offset = max(offset, batch.header.next_offset)
    return offset


# --- the client ---------------------------------------------------------------------------------------------------


def ask(path: Path, request: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Send one request to the server behind a control socket; its answers as they come. Blocking, for commands."""
    line = json.dumps(request).encode() + b"\n"
    if len(line) > REQUEST_BYTES_MAX:
        raise ControlError(f"the request has {len(line)} bytes; the server takes at most {REQUEST_BYTES_MAX}")
    with contextlib.closing(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)) as connection:
        try:
            with _short(path) as address:
                connection.connect(address)
        except (FileNotFoundError, ConnectionRefusedError):
            raise ControlError(
                f"no server is running on the data directory {path.parent}; start `binwire serve`"
            ) from None
        except OSError as error:
            raise ControlError(f"the server behind {path} cannot be asked ({error.strerror})") from None
        is_answered = request["request"] == "tail"  # of which there may be nothing to show
        try:
            connection.sendall(line)
            for line in _lines(connection):
                if not line.endswith(b"\n"):
                    is_answered = False
                    break
                answer = json.loads(line)
                if "error" in answer:
                    raise ControlError(answer["error"], answer)
                yield answer
                is_answered = True
        except ConnectionError:
            is_answered = False
        if not is_answered:
            raise ControlError(f"the server on the data directory {path.parent} ended before it answered; ask again")


def _lines(connection: socket.socket) -> Iterator[bytes]:
    """What arrives, line by line; what ends without a line feed last.

    A signal that comes between the interpreter's look at signals and a system call that waits is seen when the call
    returns: so none waits longer than a second.
    """
    pieces: list[bytes] = []
    while True:
        while not select.select([connection], [], [], _SIGNAL_UNSEEN_S)[0]:
            pass
        piece = connection.recv(_RECEIVE_BYTES)
        if not piece:
            break
        pieces.append(piece)
        if b"\n" in piece:
            *lines, rest = b"".join(pieces).split(b"\n")
            pieces = [rest]
            for line in lines:
                yield line + b"\n"
    if rest := b"".join(pieces):
        yield rest


@contextlib.contextmanager
def _short(path: Path) -> Iterator[str]:
    """A name for this path that fits into a socket address, by way of the open directory where it is too long."""
    if len(os.fsencode(path)) <= SOCKET_PATH_BYTES_MAX:
        yield str(path)
        return
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{directory}/{path.name}"
    finally:
        os.close(directory)
