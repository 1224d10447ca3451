"""The topics that exist, and who sees which.

A topic has exactly one partition, number 0 ("to keep global order", as the service does). The registry changes at run
time when channels come and go; it never touches the logs themselves.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from msgspec import Struct

from broker.errors import ErrorCode

if TYPE_CHECKING:
    from collections.abc import Iterator

    from broker.principal import Principal
    from storage.log import LogReader

PARTITION = 0
TOPIC_NAME_CHARACTERS_MAX = 249
_LEGAL_NAME = re.compile(rf"[a-zA-Z0-9._-]{{1,{TOPIC_NAME_CHARACTERS_MAX}}}")


def is_legal_name(name: str) -> bool:
    """Tell whether Kafka accepts `name` as a topic (`Topic.java`: letters, digits, `.`, `_`, `-`, at most 249, not
    `.` or `..`).
    """
    return name not in {".", ".."} and _LEGAL_NAME.fullmatch(name) is not None


class Topic(Struct, frozen=True):
    """A topic, its log, and the channel that fills it.

    `time_before_start_is_start`: a ListOffsets time before the first record finds the first record, as with the
    service's broker; if false it finds nothing. `cluster_id`: of the cluster that the topic has moved to, which its
    readers are told of in place of the broker's.
    """

    name: str
    log: LogReader
    channel_id: str
    time_before_start_is_start: bool = True
    cluster_id: str | None = None


class Topics:
    """The registry of topics, by name."""

    def __init__(self) -> None:
        self._topics: dict[str, Topic] = {}

    def add(self, topic: Topic) -> None:
        """Serve `topic` from now on, in place of one of the same name."""
        if not is_legal_name(topic.name):
            raise ValueError(f"{topic.name!r} is not a legal Kafka topic name")
        self._topics[topic.name] = topic

    def remove(self, name: str) -> Topic | None:
        """Stop serving the topic; return it, if it was served."""
        return self._topics.pop(name, None)

    def __iter__(self) -> Iterator[Topic]:
        return iter(tuple(self._topics.values()))

    def visible_to(self, principal: Principal) -> list[Topic]:
        """List what `principal` may see, by name."""
        shown = (topic for topic in self if principal.topics is None or topic.name in principal.topics)
        return sorted(shown, key=lambda topic: topic.name)

    def cluster_id(self, principal: Principal) -> str | None:
        """The cluster that a principal with one topic of its own finds it in, None if that is the broker's."""
        if principal.topics is None or len(principal.topics) != 1:
            return None
        own = self._topics.get(next(iter(principal.topics)))
        return None if own is None else own.cluster_id

    def find(self, principal: Principal, name: str, partition: int = PARTITION) -> Topic | ErrorCode:
        """Return the topic, or the code to answer. A name that is not the principal's own gives 29 whether it exists
        or not.
        """
        if principal.topics is not None and name not in principal.topics:
            return ErrorCode.TOPIC_AUTHORIZATION_FAILED
        topic = self._topics.get(name)
        if topic is None or partition != PARTITION:
            return ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
        return topic
