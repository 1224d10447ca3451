"""Views of channels and groups as a running server tells them, for tests of what looks at them."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from broker.control import ChannelView, GroupView

_CHANNEL = ChannelView(
    id="shop",
    name="Shop",
    topic="shop_topic",
    source="mysql://reader@db:3306",
    state="Normal",
    reason=None,
    retried_until_ms=None,
    start_offset=0,
    high_watermark=0,
    start_timestamp_ms=None,
    end_timestamp_ms=None,
    position=None,
    records_per_s=0.0,
    lag_ms=0,
    durable_offset=0,
    disk=None,
    damages=(),
    refused_objects=None,
    groups=(),
    silent_ms=0,
)
_GROUP = GroupView(id="dts1", name="readers", username="reader", offset=None, metadata=None, behind=None)


def channel_view(**changes: Any) -> ChannelView:
    """A channel in Normal that has nothing yet."""
    return replace(_CHANNEL, **changes)


def group_view(**changes: Any) -> GroupView:
    """A group that has never committed and has no client."""
    return replace(_GROUP, **changes)


class Shown:
    """Channels that are as a test says."""

    def __init__(self, *views: ChannelView) -> None:
        self.all = list(views)
        self.looked_at: list[str] = []

    def ids(self) -> list[str]:
        return [view.id for view in self.all]

    def view(self, channel_id: str) -> ChannelView:
        self.looked_at.append(channel_id)
        for view in self.all:
            if view.id == channel_id:
                return view
        raise KeyError(channel_id)

    def views(self) -> list[ChannelView]:
        return list(self.all)
