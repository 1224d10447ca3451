"""What a client is told of the cluster: Metadata, FindCoordinator, DescribeConfigs, ApiVersions."""

from __future__ import annotations

import pytest

from broker.apis import api_versions, describe_configs, find_coordinator, metadata
from broker.apis.api_versions import ApiVersionsRequest
from broker.apis.describe_configs import ConfigResource, DescribeConfigsRequest
from broker.apis.find_coordinator import FindCoordinatorRequest
from broker.apis.metadata import MetadataRequest
from broker.context import Broker
from broker.errors import ApiError, ErrorCode
from broker.principal import ANONYMOUS, Principal
from broker.topics import Topic
from tests.broker.fakes import CLUSTER_ID, GROUP, TOPIC, USERNAME, make_broker, make_context
from tests.fakes_log import MemoryLog

OWN = Principal(USERNAME, GROUP, frozenset({TOPIC}))


@pytest.fixture
async def broker() -> Broker:
    """Two topics; `OWN` sees one of them."""
    broker = make_broker()
    broker.topics.add(Topic("another", MemoryLog("another"), "crm"))
    return broker


def topics(broker: Broker, version: int, names: list[str] | None, who: Principal = ANONYMOUS) -> dict[str, int]:
    response = metadata.handle(make_context(broker, version, who), MetadataRequest(topics=names))
    return {topic.topic: topic.error_code for topic in response.topic_metadata}


async def test_all_and_none_are_spelled_differently_in_v0(broker: Broker) -> None:
    everything = {"another": 0, TOPIC: 0}
    assert topics(broker, 0, []) == everything
    for version in range(1, 6):
        assert topics(broker, version, None) == everything
        assert topics(broker, version, []) == {}


async def test_the_one_broker_is_leader_controller_and_replica_at_the_address_the_client_uses(broker: Broker) -> None:
    response = metadata.handle(make_context(broker, 5), MetadataRequest(topics=[TOPIC]))
    (node,) = response.brokers
    assert (node.node_id, node.host, node.port, node.rack) == (1, "127.0.0.1", 18001, None)
    assert (response.controller_id, response.cluster_id) == (1, CLUSTER_ID)
    assert len(CLUSTER_ID) == 22
    (partition,) = response.topic_metadata[0].partition_metadata
    assert (partition.partition, partition.leader, partition.replicas, partition.isr) == (0, 1, [1], [1])


async def test_a_named_topic_is_always_answered_once(broker: Broker) -> None:
    names = [TOPIC, "unknown", "il/legal", "", "x" * 250, TOPIC]
    assert topics(broker, 1, names) == {TOPIC: 0, "unknown": 3, "il/legal": 17, "": 17, "x" * 250: 17}


async def test_only_ones_own_topic_is_visible(broker: Broker) -> None:
    assert topics(broker, 1, None, OWN) == {TOPIC: 0}
    assert topics(broker, 1, [TOPIC, "another", "unknown"], OWN) == {TOPIC: 0, "another": 29, "unknown": 29}


async def test_a_topic_that_moved_tells_its_own_readers_another_cluster(broker: Broker) -> None:
    broker.topics.add(Topic(TOPIC, MemoryLog(TOPIC), "orders", cluster_id="moved"))

    def cluster(who: Principal) -> str | None:
        return metadata.handle(make_context(broker, 2, who), MetadataRequest(topics=[])).cluster_id

    other = Principal(USERNAME, GROUP, frozenset({"another"}))
    both, gone = Principal(USERNAME, GROUP, frozenset({TOPIC, "another"})), Principal("", "", frozenset())
    assert cluster(OWN) == "moved"
    assert [cluster(who) for who in (other, both, gone, ANONYMOUS)] == [CLUSTER_ID] * 4


async def test_a_removed_topic_is_unknown(broker: Broker) -> None:
    broker.topics.remove(TOPIC)
    assert topics(broker, 1, [TOPIC], OWN) == {TOPIC: 3}
    assert topics(broker, 1, None, OWN) == {}


@pytest.mark.parametrize("version", [0, 1])
async def test_the_coordinator_is_the_same_node_at_the_same_address(broker: Broker, version: int) -> None:
    asked = FindCoordinatorRequest(coordinator_key=GROUP)
    response = find_coordinator.handle(make_context(broker, version, OWN), asked)
    node = response.coordinator
    assert (response.error_code, node.node_id, node.host, node.port) == (0, 1, "127.0.0.1", 18001)


async def test_there_is_no_coordinator_for_transactions_or_other_groups(broker: Broker) -> None:
    for kind, code in ((1, ErrorCode.TRANSACTIONAL_ID_AUTHORIZATION_FAILED), (2, ErrorCode.INVALID_REQUEST)):
        asked = FindCoordinatorRequest(coordinator_key=GROUP, coordinator_type=kind)
        response = find_coordinator.handle(make_context(broker, 1, OWN), asked)
        assert response.error_code == code
        assert (response.coordinator.node_id, response.coordinator.host, response.coordinator.port) == (-1, "", -1)
    with pytest.raises(ApiError) as raised:
        find_coordinator.handle(make_context(broker, 1, OWN), FindCoordinatorRequest(coordinator_key="other"))
    assert raised.value.code is ErrorCode.INVALID_GROUP_ID


async def test_api_versions_lists_produce_and_the_sasl_apis_on_every_listener(broker: Broker) -> None:
    listed = api_versions.handle(make_context(broker, 1), ApiVersionsRequest()).api_versions
    ranges = {each.api_key: (each.min_version, each.max_version) for each in listed}
    assert ranges[0] == (0, 5)
    assert ranges[17] == (0, 1)
    assert ranges[36] == (0, 0)
    assert list(ranges) == sorted(ranges)


def configs(broker: Broker, kind: int, name: str, names: list[str] | None = None) -> tuple[int, dict[str, str | None]]:
    asked = DescribeConfigsRequest(
        resources=[ConfigResource(resource_type=kind, resource_name=name, config_names=names)]
    )
    (found,) = describe_configs.handle(make_context(broker, 1, OWN), asked).resources
    return found.error_code, {each.config_name: each.config_value for each in found.config_entries}


async def test_configs_of_topic_and_broker_are_told(broker: Broker) -> None:
    code, values = configs(broker, describe_configs.TOPIC, TOPIC)
    assert code == 0
    assert values["cleanup.policy"] == "delete"
    assert values["message.timestamp.type"] == "CreateTime"
    assert configs(broker, describe_configs.TOPIC, TOPIC, ["cleanup.policy", "unheard.of"]) == (
        0,
        {"cleanup.policy": "delete"},
    )
    assert configs(broker, describe_configs.BROKER, "1")[1]["auto.create.topics.enable"] == "false"
    assert configs(broker, describe_configs.TOPIC, "another") == (ErrorCode.TOPIC_AUTHORIZATION_FAILED, {})
    assert configs(broker, describe_configs.BROKER, "2") == (ErrorCode.INVALID_REQUEST, {})
    assert configs(broker, 3, "x") == (ErrorCode.INVALID_REQUEST, {})
