"""Metadata (key 3, v0-v5): the one broker, and the topics that the client may see.

- All topics: empty list in v0, null from v1 on, where an empty list means none (brokers only).
- Broker address: the listener the client came in on. The one broker is leader, controller and only replica.
- A topic asked for by name is always answered: 3 unknown, 17 illegal name, 29 not the principal's own.
- A login that only `dts_quirks` lets in: 5 for every topic, which clients retry until they time out.
- Cluster id: that of the broker, or of the cluster that the client's own topic has moved to.
- v1: rack, controller_id, is_internal; v2: cluster_id; v3: throttle_time_ms; v4: allow_auto_topic_creation, ignored;
  v5: offline_replicas.
"""

from __future__ import annotations

from broker.context import RequestContext
from broker.errors import ErrorCode
from broker.topics import PARTITION, is_legal_name
from broker.wire import BOOLEAN, INT16, INT32, NULLABLE_STRING, STRING, Array, Message, wire


class MetadataRequest(Message):
    """The topics asked for; see the module for null and empty."""

    topics: list[str] | None = wire(Array(STRING, nullable_since=1))
    allow_auto_topic_creation: bool = wire(BOOLEAN, since=4, default=True)


class BrokerMetadata(Message):
    """A broker and its address."""

    node_id: int = wire(INT32)
    host: str = wire(STRING)
    port: int = wire(INT32)
    rack: str | None = wire(NULLABLE_STRING, since=1, default=None)


class PartitionMetadata(Message):
    """A partition and where it lives."""

    error_code: int = wire(INT16, default=0)
    partition: int = wire(INT32)
    leader: int = wire(INT32)
    replicas: list[int] = wire(Array(INT32))
    isr: list[int] = wire(Array(INT32))
    offline_replicas: list[int] = wire(Array(INT32), since=5, default=[])


class TopicMetadata(Message):
    """A topic and its partitions."""

    error_code: int = wire(INT16, default=0)
    topic: str = wire(STRING)
    is_internal: bool = wire(BOOLEAN, since=1, default=False)
    partition_metadata: list[PartitionMetadata] = wire(Array(PartitionMetadata), default=[])


class MetadataResponse(Message):
    """The cluster as this client sees it."""

    throttle_time_ms: int = wire(INT32, since=3, default=0)
    brokers: list[BrokerMetadata] = wire(Array(BrokerMetadata))
    cluster_id: str | None = wire(NULLABLE_STRING, since=2, default=None)
    controller_id: int = wire(INT32, since=1, default=-1)
    topic_metadata: list[TopicMetadata] = wire(Array(TopicMetadata))


def handle(context: RequestContext, request: MetadataRequest) -> MetadataResponse:
    """Describe the broker and the topics asked for."""
    broker = context.broker
    principal = context.session.principal
    everything = request.topics is None or (context.api_version == 0 and not request.topics)
    names = (
        [topic.name for topic in broker.topics.visible_to(principal)]
        if everything
        else list(dict.fromkeys(request.topics or ()))
    )
    address = context.session.address
    return MetadataResponse(
        brokers=[BrokerMetadata(node_id=broker.node_id, host=address.host, port=address.port)],
        cluster_id=broker.topics.cluster_id(principal) or broker.cluster_id,
        controller_id=broker.node_id,
        topic_metadata=[_describe(context, name) for name in names],
    )


def _describe(context: RequestContext, name: str) -> TopicMetadata:
    if not context.session.principal.is_recognised:
        return TopicMetadata(error_code=ErrorCode.LEADER_NOT_AVAILABLE, topic=name)
    topic = context.broker.topics.find(context.session.principal, name)
    if topic is ErrorCode.UNKNOWN_TOPIC_OR_PARTITION and not is_legal_name(name):
        return TopicMetadata(error_code=ErrorCode.INVALID_TOPIC_EXCEPTION, topic=name)
    if isinstance(topic, ErrorCode):
        return TopicMetadata(error_code=topic, topic=name)
    node_id = context.broker.node_id
    partition = PartitionMetadata(partition=PARTITION, leader=node_id, replicas=[node_id], isr=[node_id])
    return TopicMetadata(topic=name, partition_metadata=[partition])


def error(version: int, request: MetadataRequest, code: ErrorCode, message: str | None = None) -> MetadataResponse:
    """Answer every named topic with `code`; without a broker listed, clients discard the response and ask again."""
    return MetadataResponse(
        brokers=[], topic_metadata=[TopicMetadata(error_code=code, topic=name) for name in request.topics or ()]
    )
