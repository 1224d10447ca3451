"""What the catalog is to keep of a configuration: rows of channels and groups, all of them or none.

A plan is made of what the catalog has, takes in one channel after the other, refuses what contradicts what it knows,
and is written once nothing else can refuse the start or the reading it belongs to.

Ids are given when something is first seen and stay: a channel keeps its topic, its server id and its id base, a group
its id. Only `read` and `write` touch the catalog, and they block: a running server calls them by way of `Catalog.run`.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from msgspec.structs import replace

from broker.config_rules import ConfigError
from broker.enrolment import Enrolled
from broker.provision import new_channel_row, new_group_id
from storage.catalog import GroupRow

if TYPE_CHECKING:
    from collections.abc import Sequence

    from broker.config import ChannelConfig, GroupConfig
    from storage.catalog import Catalog, ChannelRow
    from storage.clock import Clock


class Plan:
    """Rows as the catalog has them, and with what was planned."""

    def __init__(self, channels: Sequence[ChannelRow], groups: Sequence[GroupRow], clock: Clock) -> None:
        self.channels = {row.id: row for row in channels}
        self._clock = clock
        self._owners = {row.topic: row.id for row in channels}
        self._groups = {row.id: row for row in groups}
        self._named = {(row.channel_id, row.name): row.id for row in groups}
        self._new_channels: dict[str, ChannelRow] = {}
        self._new_groups: dict[str, GroupRow] = {}
        self._claimed: set[str] = set()
        self.superseded: list[str] = []
        """Channels whose documents go: the file defines them now."""

    @classmethod
    def read(cls, catalog: Catalog, clock: Clock) -> Plan:
        return cls(catalog.channels(), catalog.groups(), clock)

    @classmethod
    def read_for(cls, catalog: Catalog, clock: Clock, config: ChannelConfig) -> Plan:
        """With what concerns one channel alone, however many there are."""
        named = [catalog.group(group.id) for group in config.groups if group.id]
        groups = [*catalog.groups(config.id), *(row for row in named if row is not None)]
        return cls(catalog.channels_of(config.id, config.topic_name), groups, clock)

    def add_channel(self, config: ChannelConfig, topic: str, source: str, path: str) -> ChannelRow:
        """The channel's row, with the ids it was given when it was first seen; ConfigError under `path` if it cannot
        be that channel's.
        """
        kept = self.channels.get(config.id)
        if kept is not None and kept.topic != topic:
            raise ConfigError(
                f"{path}.topic: found {topic!r}, but channel {config.id!r} has its data under the topic "
                f"{kept.topic!r}; keep that topic, or give the channel another id"
            )
        owner = self._owners.get(topic, config.id)
        if owner != config.id:
            # Under another id its records would get ids and schemas that do not follow from those it has.
            raise ConfigError(
                f"{path}.id: found {config.id!r}, but the topic {topic!r} has the data of channel {owner!r}; keep "
                "that id, or give the channel another topic"
            )
        row = kept or new_channel_row(config.id, topic, self._clock)
        if row.start is None:
            # Of a channel that has begun capture decides when others come into force (capture/objects.py).
            row = replace(row, objects=json.dumps(config.objects, ensure_ascii=False))
        row = replace(row, name=config.display_name, source=source)
        if config.server_id:
            row = replace(row, server_id=config.server_id)
        return self._take(row)

    def claim_log(self, row: ChannelRow, id_base: int) -> ChannelRow:
        """Give the channel a log that it does not know, and whose records have ids by this base."""
        self._claimed.add(row.id)
        return self._take(replace(row, id_base=id_base))

    def _take(self, row: ChannelRow) -> ChannelRow:
        if self.channels.get(row.id) != row:
            self.channels[row.id] = self._new_channels[row.id] = row
            self._owners[row.topic] = row.id
        return row

    def add_groups(self, channel_id: str, groups: Sequence[GroupConfig]) -> list[Enrolled]:
        """The groups under their own ids, or the ones generated for them when they were first seen; ConfigError if an
        id belongs to another channel.
        """
        planned = []
        for config in groups:
            group_id = config.id or self._named.get((channel_id, config.name)) or new_group_id()
            other = self._groups.get(group_id)
            if other is not None and other.channel_id != channel_id:
                raise ConfigError(
                    f"group {config.name!r} of channel {channel_id!r} has the id {group_id!r}, which belongs to the "
                    f"group {other.name!r} of channel {other.channel_id!r}; give it another id"
                )
            row = GroupRow(
                id=group_id, channel_id=channel_id, name=config.name, username=config.username, verifier=None
            )
            if other != row:
                self._groups[group_id] = self._new_groups[group_id] = row
            planned.append(Enrolled(row, config))
        return planned

    def made_groups(self, channel_id: str) -> list[GroupRow]:
        """The channel's groups that operations made: those whose login the catalog keeps."""
        rows = self._groups.values()
        return [row for row in rows if row.channel_id == channel_id and row.verifier is not None]

    def write(self, catalog: Catalog) -> None:
        """Bring the catalog to the plan; what is as it was is not written."""
        for row in self._new_channels.values():
            if row.id in self._claimed:
                catalog.claim_log(row)
            else:
                catalog.put_channel(row)
        catalog.put_groups(self._new_groups.values())
        for channel_id in self.superseded:
            catalog.delete_document(channel_id)
