"""Scripted faults without a server: which requests a rule meets, how several work together, what an answer becomes."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from broker.apis import APIS, Api
from broker.apis.find_coordinator import Coordinator, FindCoordinatorRequest, FindCoordinatorResponse
from broker.apis.heartbeat import HeartbeatRequest, HeartbeatResponse
from broker.apis.metadata import BrokerMetadata, MetadataRequest, MetadataResponse
from broker.connection import Request
from broker.errors import ApiError, ErrorCode
from broker.faults import Asked, CoordinatorMove, Effect, Faults, RebalanceStorm, Rule, Scope, Watch
from broker.listener import Address
from broker.principal import NOBODY, Principal
from broker.wire import Message, decode, encode, encoded
from tests.broker.api_values import EVERY_VERSION, fields_of, messages

if TYPE_CHECKING:
    from broker.context import RequestContext

READER = Principal(username="u-dts1", group_id="dts1", topics=frozenset({"t"}))
BY_NAME = {api.name: api for api in APIS.values()}
HEARTBEAT = HeartbeatRequest(group_id="dts1", generation_id=1, member_id="m")
REFUSED = Effect(code=ErrorCode.NOT_LEADER_FOR_PARTITION)


def asked(api: str = "Fetch", principal: Principal = READER, client_id: str | None = "c", peer: str = "h:1") -> Asked:
    return Asked(api, principal, client_id, peer)


@pytest.mark.parametrize(
    ("scope", "is_met"),
    [
        (Scope(), True),
        (Scope(topic="t", group_id="dts1", client_id="c", peer="h:1", apis=frozenset({"Fetch"})), True),
        (Scope(topic="u"), False),
        (Scope(group_id="dts2"), False),
        (Scope(client_id="d"), False),
        (Scope(peer="h:2"), False),
        (Scope(apis=frozenset({"Metadata"})), False),
    ],
)
def test_a_scope_has_what_fits_all_of_it(scope: Scope, is_met: bool) -> None:
    assert scope.has(asked()) is is_met


def test_a_request_before_the_login_is_of_no_channel() -> None:
    assert not Scope(topic="t").has(asked(principal=NOBODY))


@given(after=st.integers(0, 5), times=st.none() | st.integers(1, 5), count=st.integers(0, 12))
def test_a_rule_lets_some_pass_and_meets_some(after: int, times: int | None, count: int) -> None:
    faults = Faults(itertools.count(1))
    rule = Rule(Scope(), REFUSED, after=after, times=times)
    faults.add(rule)
    met = [faults.meet(asked()) is not None for _ in range(count)]
    end = count if times is None else after + times
    assert met == [after <= number < end for number in range(count)]
    assert rule.met == sum(met)
    assert rule.is_over is (rule.met == times)


def test_a_rule_counts_only_what_it_is_about() -> None:
    faults = Faults(itertools.count(1))
    faults.add(Rule(Scope(client_id="c"), REFUSED, after=1, times=1))
    assert [faults.meet(asked(client_id=each)) is not None for each in ("d", "c", "d", "c", "c")] == [
        *(False, False, False, True, False)
    ]


def test_a_rule_that_is_removed_meets_nothing() -> None:
    faults = Faults(itertools.count(1))
    numbers = [faults.add(Rule(Scope(), REFUSED)), faults.add(Rule(Scope(), Effect(delay_ms=5)))]
    faults.remove(numbers[:1])
    assert faults.meet(asked()) == Effect(delay_ms=5)
    assert list(faults.rules) == numbers[1:]


def test_several_rules_work_together() -> None:
    faults = Faults(itertools.count(1))
    for effect in (
        Effect(delay_ms=5, cut_after_bytes=9),
        Effect(code=ErrorCode.NOT_COORDINATOR, throttle_ms=3),
        Effect(code=ErrorCode.INVALID_REQUEST, cut_after_bytes=0, delay_ms=1, address=Address("h", 1)),
    ):
        faults.add(Rule(Scope(), effect))
    assert faults.meet(asked()) == Effect(
        code=ErrorCode.NOT_COORDINATOR, delay_ms=6, throttle_ms=3, cut_after_bytes=0, address=Address("h", 1)
    )


def test_those_who_wait_are_told_of_each() -> None:
    rule, told = Rule(Scope(), REFUSED, times=2), []
    rule.watchers.append(lambda: told.append(rule.met))
    for _ in range(3):
        rule.meet(asked())
    assert told == [1, 2]


def test_a_storm_counts_the_rebalances_that_began() -> None:
    is_stable, begun = iter([False, True, False, True, True]), []

    def rebalance(group_id: str) -> bool:
        begun.append(group_id)
        return next(is_stable)

    faults = Faults(itertools.count(1))
    storm = RebalanceStorm(Scope(apis=frozenset({"Heartbeat"})), 2, rebalance)
    faults.add(storm)
    assert [faults.meet(asked("Heartbeat")) for _ in range(5)] == [None] * 5
    assert (storm.met, storm.is_over, begun) == (2, True, ["dts1"] * 4)


def test_who_watches_changes_nothing() -> None:
    faults = Faults(itertools.count(1))
    watch = Watch(Scope(client_id="c"))
    faults.add(watch)
    faults.add(Rule(Scope(), REFUSED))
    assert [faults.meet(asked()), faults.meet(asked(client_id="d"))] == [REFUSED, REFUSED]
    assert watch.met == 1


def test_a_coordinator_that_nobody_missed_is_still_to_be_told_of() -> None:
    move = CoordinatorMove(Scope(), unavailable=0)
    assert move.meet(asked("FindCoordinator")) is None
    assert move.meet(asked("OffsetCommit")) == Effect(code=ErrorCode.NOT_COORDINATOR)
    assert move.meet(asked("FindCoordinator")) is None
    assert move.meet(asked("OffsetCommit")) is None
    assert move.is_over


# Answers


async def answered(
    effect: Effect, api: Api, version: int, body: Message, answer: Message | Exception
) -> tuple[Message, list[str]]:
    """The answer to a request, and what was done for it in order."""
    done: list[str] = []

    def handle(context: object, request: Message) -> Message:
        done.append("done")
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def wait(delay_ms: int) -> None:
        done.append(f"{delay_ms} ms")

    request = Request(replace(api, handle=handle), version, 1, "c", body)
    return await effect.answer(request, cast("RequestContext", None), wait), done


async def test_a_failed_request_is_not_done() -> None:
    effect = Effect(code=ErrorCode.NOT_COORDINATOR, delay_ms=7)
    found, done = await answered(effect, BY_NAME["Heartbeat"], 1, HEARTBEAT, HeartbeatResponse())
    assert (found, done) == (HeartbeatResponse(error_code=ErrorCode.NOT_COORDINATOR), ["7 ms"])


async def test_a_delayed_request_is_done_first() -> None:
    effect = Effect(delay_ms=7, throttle_ms=3)
    found, done = await answered(effect, BY_NAME["Heartbeat"], 1, HEARTBEAT, HeartbeatResponse())
    assert (found, done) == (HeartbeatResponse(throttle_time_ms=3), ["done", "10 ms"])


async def test_a_refusal_of_the_handler_is_delayed_too() -> None:
    refused = ApiError(ErrorCode.INVALID_GROUP_ID)
    found, done = await answered(Effect(delay_ms=7), BY_NAME["Heartbeat"], 1, HEARTBEAT, refused)
    assert (found, done) == (HeartbeatResponse(error_code=ErrorCode.INVALID_GROUP_ID), ["done", "7 ms"])


@given(data=st.data(), api_version=st.sampled_from(EVERY_VERSION))
async def test_only_the_time_of_a_throttled_answer_is_another(
    data: st.DataObject, api_version: tuple[Api, int]
) -> None:
    """Also of one that was written for several; the one that was given stays as it is."""
    api, version = api_version
    body = data.draw(messages(api.request, version))
    given_answer = data.draw(messages(api.response, version))
    before = encode(given_answer, version)
    for answer in filter(None, (given_answer, encoded(given_answer, version))):
        found, _ = await answered(Effect(throttle_ms=77), api, version, body, answer)
        assert encode(given_answer, version) == before
        shown = decode(api.response, version, encode(found, version))
        expected = decode(api.response, version, before)
        if "throttle_time_ms" in dict(fields_of(api.response, version)):
            expected.throttle_time_ms = 77  # type: ignore[attr-defined]
        assert encode(shown, version) == encode(expected, version)


@given(data=st.data(), api_version=st.sampled_from(EVERY_VERSION))
async def test_every_api_can_be_refused(data: st.DataObject, api_version: tuple[Api, int]) -> None:
    api, version = api_version
    found, done = await answered(REFUSED, api, version, data.draw(messages(api.request, version)), AssertionError())
    assert done == []
    decode(api.response, version, encode(found, version))


ADDRESS = Effect(address=Address("elsewhere", 1))


async def test_metadata_tells_the_address() -> None:
    broker = BrokerMetadata(node_id=1, host="h", port=2, rack="r")
    given_answer = MetadataResponse(brokers=[broker], topic_metadata=[])
    request = MetadataRequest(topics=None)
    found, _ = await answered(ADDRESS, BY_NAME["Metadata"], 1, request, given_answer)
    moved = BrokerMetadata(node_id=1, host="elsewhere", port=1, rack="r")
    assert found == MetadataResponse(brokers=[moved], topic_metadata=[])
    assert given_answer.brokers == [broker]


async def test_a_coordinator_that_is_refused_has_no_address() -> None:
    api, request = BY_NAME["FindCoordinator"], FindCoordinatorRequest(coordinator_key="g")
    there = FindCoordinatorResponse(coordinator=Coordinator(node_id=1, host="h", port=2))
    found, _ = await answered(ADDRESS, api, 1, request, there)
    assert found == FindCoordinatorResponse(coordinator=Coordinator(node_id=1, host="elsewhere", port=1))
    refused = FindCoordinatorResponse(error_code=ErrorCode.INVALID_GROUP_ID, coordinator=Coordinator())
    assert (await answered(ADDRESS, api, 1, request, refused))[0] == refused
