"""A server whose requests meet scripted faults: how it ends, and what it costs where there are none."""

from __future__ import annotations

import itertools

import pytest

from broker.apis.fetch import FetchResponse
from broker.apis.metadata import MetadataRequest, MetadataResponse
from broker.errors import ErrorCode
from broker.faults import Asked, Effect, Faults, Rule, Scope
from tests.broker.test_server import fetch_request, on_manual_time, running

pytestmark = pytest.mark.timeout(60)


@pytest.mark.parametrize("is_closing", [False, True])
async def test_an_answer_that_is_held_back_does_not_hold_up_the_end(is_closing: bool) -> None:
    """Time stands still; also for a fetch that is answered because the server closes."""
    broker, _ = on_manual_time()
    async with running(broker) as run, run.client() as client:
        faults = run.server.faults = Faults(itertools.count(1))
        rule = Rule(Scope(), Effect(delay_ms=3_600_000))
        faults.add(rule)
        client.send(fetch_request(0, max_wait_time=60_000 if is_closing else 0), 4)
        await run.until(lambda: rule.met == 1)
        await run.until(lambda: is_closing or run.server.clients[0].is_held)
        await run.server.close(5000)
        assert await client.expect_close() == b""


async def test_what_is_asked_behind_a_fault_waits_for_its_turn() -> None:
    broker, timers = on_manual_time()
    async with running(broker) as run, run.client() as client:
        faults = run.server.faults = Faults(itertools.count(1))
        faults.add(Rule(Scope(apis=frozenset({"Fetch"})), Effect(delay_ms=10), times=1))
        for _ in range(2):
            client.send(fetch_request(0), 4)
        client.send(MetadataRequest(topics=[]), 1)
        await run.until(lambda: any(each.is_held for each in run.server.clients))
        assert run.server.requests == {1: 1}
        timers.advance(10)
        for _ in range(2):
            answer = await client.receive(FetchResponse, 4)
            assert answer.responses[0].partition_responses[0].error_code == ErrorCode.NONE
        assert (await client.receive(MetadataResponse, 1)).brokers


async def test_without_faults_nobody_looks_for_them(monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[Asked] = []
    monkeypatch.setattr(Faults, "meet", lambda self, asked: looked.append(asked))
    async with running() as run, run.client() as client:
        await client.ask(MetadataRequest(topics=[]), 1, MetadataResponse)
        assert looked == []
        run.server.faults = Faults(itertools.count(1))
        await client.ask(MetadataRequest(topics=[]), 1, MetadataResponse)
        assert [asked.api for asked in looked] == ["Metadata"]
