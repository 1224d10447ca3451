"""Recordings played: a stretch of a real topic, as `binwire record` saved it."""

from __future__ import annotations

import os
from pathlib import Path

from binwire.testing.calls import AsyncSender, Call, Sender
from binwire.testing.changes import between

__tracebackhide__ = True  # pytest shows the line of the test


class Replaying(Sender):
    """What plays recordings."""

    def replay(self, path: str | os.PathLike[str], speed: float | None = None, *, shift_times: bool = True) -> int:
        """Play a recording; how many records it had. Returns when they can be read.

        `speed` 1.0 is the recorded pace; without it they come as fast as possible. Offsets are those that follow in
        this channel; ids stay as recorded, moved up together where the channel is beyond them. Times are moved, so that
        the recording begins now, or ends now at full speed; with `shift_times=False` they stay. Values, positions and
        names of tables stay in any case: `insert` and the like know nothing of the recording's tables.
        """
        return self._send(between(self, _replay(self._name, path, speed, shift_times)))


class AsyncReplaying(AsyncSender):
    """The same, for asynchronous code."""

    async def replay(
        self, path: str | os.PathLike[str], speed: float | None = None, *, shift_times: bool = True
    ) -> int:
        """As `Replaying.replay`."""
        return await self._send(between(self, _replay(self._name, path, speed, shift_times)))


def _replay(channel: str, path: str | os.PathLike[str], speed: float | None, shift_times: bool) -> Call[int]:
    arguments = {"channel": channel, "path": str(Path(path).absolute()), "speed": speed, "shift_times": shift_times}
    return Call("replay", arguments, lambda result: result["records"])
