"""DescribeConfigs (key 32, v0-v1): the settings of a topic or of the broker, in Kafka's words, read only.

What is told is what is true here: nothing is compacted, a message carries its own time, and the broker creates no
topics. config_names null asks for all. An unknown topic gets 3 or 29, another broker id or another kind of resource
INVALID_REQUEST (42). v1: include_synonyms; config_source instead of is_default, and config_synonyms, of which there
are none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from broker.errors import ErrorCode
from broker.offsets import METADATA_BYTES_MAX
from broker.wire import BOOLEAN, INT8, INT16, INT32, NULLABLE_STRING, STRING, Array, Message, wire

if TYPE_CHECKING:
    from collections.abc import Mapping

    from broker.context import RequestContext

TOPIC: Final = 2
BROKER: Final = 4
DEFAULT_SOURCE: Final = 5

TOPIC_CONFIGS: Final = {
    "cleanup.policy": "delete",
    "compression.type": "producer",
    "message.format.version": "1.1-IV0",
    "message.timestamp.type": "CreateTime",
    "min.insync.replicas": "1",
}
BROKER_CONFIGS: Final = {
    "auto.create.topics.enable": "false",
    "default.replication.factor": "1",
    "num.partitions": "1",
    "offset.metadata.max.bytes": str(METADATA_BYTES_MAX),
}


class ConfigResource(Message):
    """A topic or the broker, and the settings asked for."""

    resource_type: int = wire(INT8)
    resource_name: str = wire(STRING)
    config_names: list[str] | None = wire(Array(STRING, nullable_since=0))


class DescribeConfigsRequest(Message):
    """The resources asked for."""

    resources: list[ConfigResource] = wire(Array(ConfigResource))
    include_synonyms: bool = wire(BOOLEAN, since=1, default=False)


class ConfigSynonym(Message):
    """Another place that sets a value."""

    config_name: str = wire(STRING)
    config_value: str | None = wire(NULLABLE_STRING)
    config_source: int = wire(INT8)


class DescribedConfig(Message):
    """A setting and its value."""

    config_name: str = wire(STRING)
    config_value: str | None = wire(NULLABLE_STRING)
    read_only: bool = wire(BOOLEAN, default=True)
    is_default: bool = wire(BOOLEAN, until=0, default=True)
    config_source: int = wire(INT8, since=1, default=DEFAULT_SOURCE)
    is_sensitive: bool = wire(BOOLEAN, default=False)
    config_synonyms: list[ConfigSynonym] = wire(Array(ConfigSynonym), since=1, default=[])


class DescribedResource(Message):
    """A resource and its settings."""

    error_code: int = wire(INT16, default=0)
    error_message: str | None = wire(NULLABLE_STRING, default=None)
    resource_type: int = wire(INT8)
    resource_name: str = wire(STRING)
    config_entries: list[DescribedConfig] = wire(Array(DescribedConfig), default=[])


class DescribeConfigsResponse(Message):
    """The settings."""

    throttle_time_ms: int = wire(INT32, default=0)
    resources: list[DescribedResource] = wire(Array(DescribedResource))


def handle(context: RequestContext, request: DescribeConfigsRequest) -> DescribeConfigsResponse:
    """Tell each resource's settings, once (in Kafka the request is a map, too)."""
    asked = {(each.resource_type, each.resource_name): each for each in request.resources}
    return DescribeConfigsResponse(resources=[_describe(context, resource) for resource in asked.values()])


def _describe(context: RequestContext, resource: ConfigResource) -> DescribedResource:
    configs = _configs(context, resource)
    if isinstance(configs, ErrorCode):
        return _error(resource, configs)
    names = [name for name in configs if resource.config_names is None or name in resource.config_names]
    return DescribedResource(
        resource_type=resource.resource_type,
        resource_name=resource.resource_name,
        config_entries=[DescribedConfig(config_name=name, config_value=configs[name]) for name in names],
    )


def _configs(context: RequestContext, resource: ConfigResource) -> Mapping[str, str] | ErrorCode:
    if resource.resource_type == TOPIC:
        found = context.broker.topics.find(context.session.principal, resource.resource_name)
        return found if isinstance(found, ErrorCode) else TOPIC_CONFIGS
    if resource.resource_type == BROKER and resource.resource_name == str(context.broker.node_id):
        return BROKER_CONFIGS
    return ErrorCode.INVALID_REQUEST


def _error(resource: ConfigResource, code: ErrorCode, message: str | None = None) -> DescribedResource:
    return DescribedResource(
        error_code=code,
        error_message=message,
        resource_type=resource.resource_type,
        resource_name=resource.resource_name,
    )


def error(
    version: int, request: DescribeConfigsRequest, code: ErrorCode, message: str | None = None
) -> DescribeConfigsResponse:
    """Answer every resource with `code`."""
    return DescribeConfigsResponse(resources=[_error(resource, code, message) for resource in request.resources])
