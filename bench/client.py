"""A raw Kafka client on a blocking socket: what a benchmark or a test needs, and nothing that costs time of its own.

Owns request frames of exactly these shapes (header v1, see Kafka's protocol guide): SaslHandshake v0 followed by a bare
PLAIN token, Metadata v1, ListOffsets v0 and v1, Fetch v0 to v4, DescribeGroups v0, JoinGroup v1, SyncGroup v0,
Heartbeat v0. Responses come back as views of one receive buffer; record batches are not decoded. It is no consumer: no
retries, and a membership of a group only for who heartbeats by hand.
"""

from __future__ import annotations

import socket
import struct
from dataclasses import dataclass
from typing import Final, Self

_FETCH, _LIST_OFFSETS, _METADATA, _DESCRIBE_GROUPS, _SASL_HANDSHAKE = 1, 2, 3, 15, 17
_JOIN_GROUP, _HEARTBEAT, _SYNC_GROUP = 11, 12, 14
_CLIENT_ID: Final = b"binwire-bench"
_REPLICA_CONSUMER: Final = -1
EARLIEST: Final = -2
LATEST: Final = -1


class KafkaError(Exception):
    """The server answered an error code, or closed the connection."""

    def __init__(self, message: str, code: int | None = None) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True, slots=True)
class Fetched:
    """One partition's part of a Fetch response; ``records`` is valid until the next request."""

    high_watermark: int
    records: memoryview


@dataclass(frozen=True, slots=True)
class GroupMember:
    """A member of a consumer group; which partition it holds is clear, there is one."""

    client_id: str
    holds_partition: bool


@dataclass(frozen=True, slots=True)
class Group:
    """A consumer group as DescribeGroups shows it: ``Stable``, ``PreparingRebalance`` …"""

    state: str
    members: tuple[GroupMember, ...]


class RawClient:
    """One connection. ``timeout_s`` bounds every wait on the socket."""

    def __init__(self, host: str, port: int, *, timeout_s: float = 30.0) -> None:
        self._socket = socket.create_connection((host, port), timeout=timeout_s)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._buffer = bytearray(1 << 20)
        self._correlation_id = 0

    def close(self) -> None:
        self._socket.close()

    def detach(self) -> socket.socket:
        """The connection itself, for who sends frames of their own from here on."""
        return self._socket

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def login(self, username: str, password: str) -> None:
        """SASL PLAIN as Kafka 0.10 does it: SaslHandshake v0, then bare tokens. Raises KafkaError when refused."""
        answer = self._request(_SASL_HANDSHAKE, 0, string("PLAIN"))
        (error,) = struct.unpack_from(">h", answer)
        if error:
            raise KafkaError(f"SaslHandshake answered error {error}", error)
        token = b"\0".join((b"", username.encode(), password.encode()))
        self._socket.sendall(struct.pack(">i", len(token)) + token)
        self._receive_frame()

    def topics(self) -> list[str]:
        """Names of the topics this login may see (Metadata v1, all topics)."""
        answer = self._request(_METADATA, 1, struct.pack(">i", -1))
        reader = _Reader(answer)
        for _ in range(reader.int32()):
            reader.skip(4)
            reader.string()
            reader.skip(4)
            reader.string()
        reader.skip(4)
        names = []
        for _ in range(reader.int32()):
            reader.skip(2)
            names.append(reader.string() or "")
            reader.skip(1)
            for _ in range(reader.int32()):
                reader.skip(10)
                reader.skip(4 * reader.int32())
                reader.skip(4 * reader.int32())
        return names

    def list_offsets_v0(self, topic: str, timestamp: int, max_offsets: int = 1) -> list[int]:
        """Offsets as Kafka 0.10.0 clients ask for them, newest first. Raises KafkaError."""
        body = struct.pack(">ii", _REPLICA_CONSUMER, 1) + string(topic)
        body += struct.pack(">iiqi", 1, 0, timestamp, max_offsets)
        reader = self._one_partition(self._request(_LIST_OFFSETS, 0, body))
        self._check("ListOffsets", reader.int16())
        return [reader.int64() for _ in range(reader.int32())]

    def list_offsets(self, topic: str, timestamp: int) -> tuple[int, int]:
        """(timestamp, offset) of the first record not older than ``timestamp``; (-1, -1) if there is none."""
        body = struct.pack(">ii", _REPLICA_CONSUMER, 1) + string(topic) + struct.pack(">iiq", 1, 0, timestamp)
        reader = self._one_partition(self._request(_LIST_OFFSETS, 1, body))
        self._check("ListOffsets", reader.int16())
        return reader.int64(), reader.int64()

    def join_alone(self, group: str, *, session_ms: int) -> tuple[int, str]:
        """Become the only member of a group and its leader, with nothing assigned: (generation, member id).

        Raises KafkaError.
        """
        body = string(group) + struct.pack(">ii", session_ms, session_ms) + string("") + string("consumer")
        body += struct.pack(">i", 1) + string("range") + struct.pack(">i", 0)
        reader = _Reader(self._request(_JOIN_GROUP, 1, body))
        self._check("JoinGroup", reader.int16())
        generation = reader.int32()
        reader.string()
        reader.string()
        member_id = reader.string() or ""
        body = string(group) + struct.pack(">i", generation) + string(member_id) + struct.pack(">i", 0)
        self._check("SyncGroup", _Reader(self._request(_SYNC_GROUP, 0, body)).int16())
        return generation, member_id

    def fetch(
        self, topic: str, offset: int, *, max_bytes: int = 1 << 20, min_bytes: int = 1, max_wait_ms: int = 500
    ) -> Fetched:
        """Record batches (magic 2) from ``offset`` on, as they come. Raises KafkaError."""
        return self.fetched(self._request(_FETCH, 4, _fetch_body(topic, offset, max_bytes, min_bytes, max_wait_ms)))

    @classmethod
    def fetched(cls, answer: memoryview) -> Fetched:
        """The one partition of a Fetch v4 answer, which begins behind its correlation id. Raises KafkaError."""
        reader = cls._one_partition(answer[4:])
        cls._check("Fetch", reader.int16())
        high_watermark = reader.int64()
        reader.skip(8)
        reader.skip(16 * max(0, reader.int32()))
        size = reader.int32()
        return Fetched(high_watermark, reader.take(size))

    def fetch_messages(self, topic: str, offset: int, version: int, *, max_bytes: int = 1 << 20) -> Fetched:
        """Messages of magic 0 (Fetch v0 and v1) or 1 (v2 and v3) from ``offset`` on. Raises KafkaError."""
        body = struct.pack(">iii", _REPLICA_CONSUMER, 500, 1) + (struct.pack(">i", max_bytes) if version >= 3 else b"")
        body += struct.pack(">i", 1) + string(topic) + struct.pack(">iiqi", 1, 0, offset, max_bytes)
        answer = self._request(_FETCH, version, body)
        reader = self._one_partition(answer[4:] if version else answer)
        self._check("Fetch", reader.int16())
        high_watermark = reader.int64()
        size = reader.int32()
        return Fetched(high_watermark, reader.take(size))

    def group(self, group_id: str) -> Group:
        """The state of a consumer group and its members. Raises KafkaError."""
        reader = _Reader(self._request(_DESCRIBE_GROUPS, 0, struct.pack(">i", 1) + string(group_id)))
        reader.skip(4)
        self._check("DescribeGroups", reader.int16())
        _, state, _, _ = (reader.string() for _ in range(4))
        members = []
        for _ in range(reader.int32()):
            _, client_id, _ = (reader.string() for _ in range(3))
            reader.skip(reader.int32())
            assignment = reader.take(reader.int32())
            members.append(GroupMember(client_id or "", holds_partition=_assigns_a_partition(assignment)))
        return Group(state or "", tuple(members))

    @staticmethod
    def _one_partition(answer: memoryview) -> _Reader:
        """A reader behind `[topic [partition …` of a response with one topic and one partition."""
        reader = _Reader(answer)
        reader.skip(4)
        reader.string()
        reader.skip(8)
        return reader

    @staticmethod
    def _check(api: str, error: int) -> None:
        if error:
            raise KafkaError(f"{api} answered error {error}", error)

    def _request(self, api_key: int, version: int, body: bytes) -> memoryview:
        self._correlation_id += 1
        self._socket.sendall(_frame(api_key, version, self._correlation_id, body))
        answer = self._receive_frame()
        (correlation_id,) = struct.unpack_from(">i", answer)
        if correlation_id != self._correlation_id:
            raise KafkaError(f"response {correlation_id} where {self._correlation_id} was due")
        return answer[4:]

    def _receive_frame(self) -> memoryview:
        (size,) = struct.unpack(">i", self._receive(4))
        return self._receive(size)

    def _receive(self, size: int) -> memoryview:
        if size > len(self._buffer):
            self._buffer = bytearray(size)
        view = memoryview(self._buffer)
        received = 0
        while received < size:
            count = self._socket.recv_into(view[received:size])
            if not count:
                raise KafkaError("the server closed the connection")
            received += count
        return view[:size]


class _Reader:
    """Reads primitives from a view, front to back."""

    def __init__(self, view: memoryview) -> None:
        self._view = view
        self._position = 0

    def skip(self, size: int) -> None:
        self._position += size

    def take(self, size: int) -> memoryview:
        self._position += size
        return self._view[self._position - size : self._position]

    def int16(self) -> int:
        return int(struct.unpack(">h", self.take(2))[0])

    def int32(self) -> int:
        return int(struct.unpack(">i", self.take(4))[0])

    def int64(self) -> int:
        return int(struct.unpack(">q", self.take(8))[0])

    def string(self) -> str | None:
        size = self.int16()
        return None if size < 0 else str(self.take(size), "utf-8")


def string(text: str) -> bytes:
    """A string as Kafka writes it."""
    data = text.encode()
    return struct.pack(">h", len(data)) + data


def _assigns_a_partition(assignment: memoryview) -> bool:
    """Whether a consumer protocol assignment (version, [topic [partition]], user data) names any partition."""
    if not assignment:
        return False
    reader = _Reader(assignment)
    reader.skip(2)
    for _ in range(reader.int32()):
        reader.string()
        if reader.int32():
            return True
    return False


def _frame(api_key: int, version: int, correlation_id: int, body: bytes) -> bytes:
    header = struct.pack(">hhih", api_key, version, correlation_id, len(_CLIENT_ID)) + _CLIENT_ID
    return struct.pack(">i", len(header) + len(body)) + header + body


def _fetch_body(topic: str, offset: int, max_bytes: int, min_bytes: int, max_wait_ms: int) -> bytes:
    body = struct.pack(">iiiibi", _REPLICA_CONSUMER, max_wait_ms, min_bytes, max_bytes, 0, 1) + string(topic)
    return body + struct.pack(">iiqi", 1, 0, offset, max_bytes)


def heartbeat_frame(group: str, generation: int, member_id: str) -> bytes:
    """A Heartbeat v0, ready to be sent again and again: its correlation id is 0."""
    return _frame(_HEARTBEAT, 0, 0, string(group) + struct.pack(">i", generation) + string(member_id))


def fetch_frame(topic: str, offset: int, max_bytes: int) -> bytes:
    """A Fetch v4 that waits for nothing, ready to be sent again and again: its correlation id is 0."""
    return _frame(_FETCH, 4, 0, _fetch_body(topic, offset, max_bytes, min_bytes=1, max_wait_ms=0))
