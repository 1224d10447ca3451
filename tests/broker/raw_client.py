"""A Kafka client in the raw: frames over a socket, nothing else, so that tests can do what no client library does."""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
from types import TracebackType
from typing import Self, TypeVar

from broker.apis.sasl_authenticate import SaslAuthenticateRequest
from broker.apis.sasl_handshake import SaslHandshakeRequest
from broker.listener import Address
from broker.wire import Message, decode
from tests.broker.frames import request_frame

MessageT = TypeVar("MessageT", bound=Message)
PATIENCE_S = 20
"""After this a read fails the test instead of hanging it."""


class RawClient:
    """One connection; `async with RawClient(address)`."""

    def __init__(
        self,
        address: Address,
        *,
        receive_bytes: int | None = None,
        tls: ssl.SSLContext | None = None,
        local_host: str | None = None,
    ) -> None:
        self._address = address
        self._receive_bytes = receive_bytes
        self._tls = tls
        self._local_host = local_host
        self._correlation_id = 0

    async def __aenter__(self) -> Self:
        sock = socket.socket()
        if self._receive_bytes:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, self._receive_bytes)
        sock.setblocking(False)
        if self._local_host:
            sock.bind((self._local_host, 0))
        host = "localhost" if self._tls else None
        try:
            await asyncio.get_running_loop().sock_connect(sock, (self._address.host, self._address.port))
            self.reader, self.writer = await asyncio.open_connection(
                sock=sock, limit=self._receive_bytes or 2**16, ssl=self._tls, server_hostname=host
            )
        except BaseException:  # also when the test gives up waiting
            sock.close()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.writer.transport.abort()

    async def read(self, size_bytes: int) -> bytes:
        async with asyncio.timeout(PATIENCE_S):
            return await self.reader.readexactly(size_bytes)

    async def read_frame(self) -> bytes:
        """The next response, without its size."""
        (size,) = struct.unpack(">i", await self.read(4))
        return await self.read(size)

    async def expect_close(self) -> bytes:
        """Whatever comes until the server closes."""
        async with asyncio.timeout(PATIENCE_S):
            try:
                return await self.reader.read()
            except ConnectionResetError:
                return b""

    def send(self, request: Message, version: int) -> int:
        """Write a request; returns its correlation id."""
        self._correlation_id += 1
        self.writer.write(request_frame(request, version, self._correlation_id))
        return self._correlation_id

    async def receive(self, cls: type[MessageT], version: int) -> MessageT:
        """Read a response; its correlation id is not looked at."""
        return decode(cls, version, await self.read_frame(), 4)

    async def ask(self, request: Message, version: int, cls: type[MessageT]) -> MessageT:
        """Send a request and read its response."""
        sent = self.send(request, version)
        frame = await self.read_frame()
        assert struct.unpack_from(">i", frame) == (sent,)
        return decode(cls, version, frame, 4)

    async def handshake(self, version: int) -> None:
        """Choose PLAIN; tokens then travel as the version says."""
        sent = self.send(SaslHandshakeRequest(mechanism="PLAIN"), version)
        assert await self.read_frame() == struct.pack(">i", sent) + bytes.fromhex("0000 00000001 0005 504c41494e")

    async def log_in(self, username: str, password: str) -> None:
        """Log in with a raw token."""
        await self.handshake(0)
        self.send_token(0, username, password)
        assert await self.read(4) == bytes(4)

    def send_token(self, version: int, username: str, password: str) -> None:
        """Send a token as it travels after a handshake of this version."""
        token = f"\0{username}\0{password}".encode()
        if version == 0:
            self.writer.write(struct.pack(">i", len(token)) + token)
        else:
            self.send(SaslAuthenticateRequest(sasl_auth_bytes=token), 0)
