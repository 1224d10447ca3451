"""What writes or manages is refused: right layout, right code, and no answer where none is due."""

from __future__ import annotations

import pytest

from broker.apis import (
    create_topics,
    delete_records,
    delete_topics,
    describe_acls,
    init_producer_id,
    produce,
)
from broker.apis.create_topics import CreateTopic, CreateTopicsRequest
from broker.apis.delete_records import DeleteRecordsPartition, DeleteRecordsRequest, DeleteRecordsTopic
from broker.apis.delete_topics import DeleteTopicsRequest
from broker.apis.describe_acls import DescribeAclsRequest
from broker.apis.init_producer_id import InitProducerIdRequest
from broker.apis.produce import ProducePartition, ProduceRequest, ProduceTopic
from broker.errors import CloseConnection
from broker.wire import encode
from tests.broker.fakes import TOPIC, make_broker, make_context


@pytest.mark.parametrize("version", range(6))
async def test_produce_is_29_with_all_offsets_minus_1(version: int) -> None:
    data = [ProducePartition(partition=2, record_set=b"records")]
    request = ProduceRequest(acks=-1, timeout=1, topic_data=[ProduceTopic(topic="t", data=data)])
    response = produce.handle(make_context(make_broker(), version), request)
    head = "00000001 0001 74 00000001 00000002 001d ffffffffffffffff"
    expected = {0: head, 1: head + "00000000", 5: head + "ffffffffffffffff ffffffffffffffff 00000000"}
    middle = head + "ffffffffffffffff 00000000"
    assert encode(response, version) == bytes.fromhex(expected.get(version, middle))


async def test_produce_without_acks_is_not_answered() -> None:
    with pytest.raises(CloseConnection, match="acks=0"):
        produce.handle(make_context(make_broker(), 2), ProduceRequest(acks=0, timeout=1, topic_data=[]))


@pytest.mark.parametrize(("version", "code", "says_why"), [(0, 31, False), (1, 44, True), (2, 44, True)])
async def test_create_topics_is_refused_in_codes_the_client_knows(version: int, code: int, says_why: bool) -> None:
    wanted = CreateTopic(topic="new", num_partitions=1, replication_factor=1, replica_assignment=[], config_entries=[])
    request = CreateTopicsRequest(create_topic_requests=[wanted], timeout=1)
    (answer,) = create_topics.handle(make_context(make_broker(), version), request).topic_errors
    assert (answer.topic, answer.error_code, answer.error_message is not None) == ("new", code, says_why)


@pytest.mark.parametrize("version", [0, 1])
async def test_delete_topics_is_29(version: int) -> None:
    response = delete_topics.handle(
        make_context(make_broker(), version), DeleteTopicsRequest(topics=[TOPIC], timeout=1)
    )
    assert [(each.topic, each.error_code) for each in response.topic_error_codes] == [(TOPIC, 29)]


async def test_delete_records_is_29() -> None:
    partitions = [DeleteRecordsPartition(partition=0, offset=5)]
    request = DeleteRecordsRequest(topics=[DeleteRecordsTopic(topic=TOPIC, partitions=partitions)], timeout=1)
    (topic,) = delete_records.handle(make_context(make_broker(), 0), request).topics
    assert [(each.error_code, each.low_watermark) for each in topic.partitions] == [(29, -1)]


@pytest.mark.parametrize(("transactional_id", "code"), [(None, 31), ("tx", 53)])
async def test_no_producer_gets_an_id(transactional_id: str | None, code: int) -> None:
    request = InitProducerIdRequest(transactional_id=transactional_id, transaction_timeout_ms=1)
    response = init_producer_id.handle(make_context(make_broker(), 0), request)
    assert (response.error_code, response.producer_id, response.producer_epoch) == (code, -1, -1)


async def test_describe_acls_is_54() -> None:
    request = DescribeAclsRequest(
        resource_type=2, resource_name=None, principal=None, host=None, operation=1, permission_type=1
    )
    response = describe_acls.handle(make_context(make_broker(), 0), request)
    assert (response.error_code, response.resources) == (54, [])
