"""The registry of topics and who sees which."""

from __future__ import annotations

import pytest

from broker.errors import ErrorCode
from broker.principal import ANONYMOUS, NOBODY, Principal
from broker.topics import Topic, Topics, is_legal_name
from tests.fakes_log import MemoryLog

OWN = Principal("user-g", "g", frozenset({"a"}))


def registry(*names: str) -> Topics:
    topics = Topics()
    for name in names:
        topics.add(Topic(name, MemoryLog(name), "channel"))
    return topics


@pytest.mark.parametrize("name", ["a", "cn_hangzhou_rm-1.x", "x" * 249])
def test_legal_names(name: str) -> None:
    assert is_legal_name(name)


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "ä", "a b", "x" * 250, "a\n"])
def test_illegal_names_are_never_served(name: str) -> None:
    assert not is_legal_name(name)
    with pytest.raises(ValueError, match="not a legal Kafka topic name"):
        registry(name)


def test_visibility() -> None:
    topics = registry("b", "a")
    assert [topic.name for topic in topics.visible_to(ANONYMOUS)] == ["a", "b"]
    assert [topic.name for topic in topics.visible_to(OWN)] == ["a"]
    assert topics.visible_to(NOBODY) == []


def test_finding() -> None:
    topics = registry("a", "b")
    found = topics.find(OWN, "a")
    assert isinstance(found, Topic)
    assert topics.find(OWN, "a", 1) is ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
    assert topics.find(OWN, "b") is ErrorCode.TOPIC_AUTHORIZATION_FAILED
    assert topics.find(OWN, "nowhere") is ErrorCode.TOPIC_AUTHORIZATION_FAILED
    assert topics.find(ANONYMOUS, "nowhere") is ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
    topics.remove("a")
    topics.remove("a")
    assert topics.find(OWN, "a") is ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
    assert [topic.name for topic in topics] == ["b"]
