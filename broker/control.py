"""What the broker may ask of capture, and the command line's way into a running server.

Owns `ChannelControl`, the one interface behind which channels live (`broker/app.py` implements it over `capture`), and
`control.sock`: a Unix socket with mode 0600 in the data directory, where whoever may read the directory may ask.

Protocol: one request per connection, JSON lines in both directions, UTF-8.

    {"request": "status"}            -> {"status": {…}}
    {"request": "tail", "topic": "…", "records": 10, "from_ms": null, "follow": true}
                                     -> {"offset": 7, "timestamp_ms": …, "value": "<base64>"} …, then {"end": true}
    anything that cannot be done     -> {"error": "one sentence"}

Records travel undecoded: decoding for people costs time that belongs to the command, not to the server's loop.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True, slots=True)
class PrecheckItem:
    """One row of a precheck: what was looked at, what was found, and what to do if it failed."""

    name: str
    passed: bool
    found: str
    remedy: str | None


@dataclass(frozen=True, slots=True)
class ChannelView:
    """What is known about a channel at this moment. Times are source time, Unix epoch milliseconds."""

    id: str
    name: str
    topic: str
    source: str
    state: str
    reason: str | None
    start_offset: int
    high_watermark: int
    start_timestamp_ms: int | None
    end_timestamp_ms: int | None
    position: str | None
    records_per_s: float
    lag_ms: int | None


class ChannelControl(Protocol):
    """Everything the broker may ask of capture. Channels go by their id; `KeyError` for an unknown one."""

    def views(self) -> Sequence[ChannelView]:
        """All channels, in the order of the configuration."""

    async def precheck(self, channel_id: str) -> Sequence[PrecheckItem]:
        """Look at the source again, without changing anything."""

    async def start(self, channel_id: str) -> None:
        """Start a channel that is stopped; nothing happens if it runs."""

    async def stop(self, channel_id: str) -> None:
        """Stop a channel at the next transaction boundary and keep its data."""
