"""Answers that are made and sent in slices, so that a long one does not hold the loop that serves Kafka clients.

Invariant: between two slices of about `SLICE_S` everything else of the loop has its turn, and a client is sent no more
than its socket takes.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING, Final

from starlette.responses import Response

from storage.scheduler import give_way

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from starlette.types import Receive, Scope, Send

    from broker.operations.operation import Download

JSON: Final = "application/json"
SLICE_S: Final = 0.001
PIECE_BYTES: Final = 128 << 10
"""How much is sent at a time; the next when the socket has taken it."""


class Slices:
    """Lets the loop go on now and then during work that comes piece by piece."""

    def __init__(self) -> None:
        self._since_s = time.perf_counter()

    async def rest(self) -> None:
        """Give way if it has been a while."""
        if time.perf_counter() - self._since_s > SLICE_S:
            await give_way()
            self._since_s = time.perf_counter()


class SlicedResponse(Response):
    """A body that is made piece by piece, whole before any of it is sent: what fails while it is made has its own
    answer.
    """

    def __init__(self, make: Callable[[], Iterable[bytes]], status: int = 200, media_type: str = JSON) -> None:
        super().__init__(None, status, media_type=media_type)
        self._make = make

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        slices, pieces = Slices(), []
        for piece in self._make():
            pieces.append(piece)
            await slices.rest()
        body = b"".join(pieces)
        self.headers["Content-Length"] = str(len(body))
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        for start in range(0, len(body), PIECE_BYTES) or (0,):
            piece, more = body[start : start + PIECE_BYTES], start + PIECE_BYTES < len(body)
            await send({"type": "http.response.body", "body": piece, "more_body": more})


class DownloadResponse(Response):
    """Bytes that come from somewhere else, in pieces, as a file."""

    def __init__(self, download: Download) -> None:
        super().__init__(None, media_type=download.media_type)
        self.headers["Content-Disposition"] = f'attachment; filename="{download.name}"'
        del self.headers["Content-Length"]
        if download.size_bytes is not None:
            self.headers["Content-Length"] = str(download.size_bytes)
        self._pieces = download.pieces

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        gone = asyncio.ensure_future(_until_gone(receive))
        try:
            async for piece in self._pieces:
                for start in range(0, len(piece), PIECE_BYTES):
                    part = piece[start : start + PIECE_BYTES]
                    await send({"type": "http.response.body", "body": part, "more_body": True})
                if gone.done():
                    return
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            gone.cancel()
            if isinstance(self._pieces, AsyncGenerator):
                await self._pieces.aclose()


async def _until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
