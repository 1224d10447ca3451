"""Whatever well-formed request comes, its handler answers, refuses or waits; bytes that are none close at worst.

Method: made-up requests of every API and version, with names that exist mixed in, through the handlers; then frames of
such requests with bytes changed, through the sans-IO core.
"""

from __future__ import annotations

import asyncio
from inspect import isawaitable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from broker.apis import Api
from broker.connection import Connection, Request
from broker.errors import ApiError, CloseConnection, ErrorCode
from broker.principal import ANONYMOUS, Principal
from broker.sasl import SaslExchange
from broker.wire import Message, decode, encode
from tests.broker.api_values import EVERY_VERSION, messages, name_of
from tests.broker.fakes import GROUP, TOPIC, USERNAME, make_broker, make_context
from tests.broker.frames import frame
from tests.fakes_log import MemoryLog

TURNS = 30
PRINCIPALS = [ANONYMOUS, Principal(USERNAME, GROUP, frozenset({TOPIC}))]


def with_known_names(value: Any, names: list[str]) -> None:
    """Put a topic or group that exists in place of some made-up strings."""
    for field in type(value).fields:
        each = getattr(value, field)
        if isinstance(each, str) and each and names:
            setattr(value, field, names.pop())
        for item in each if isinstance(each, list) else [each]:
            if isinstance(item, Message):
                with_known_names(item, names)


async def outcome(api: Api, version: int, request: Message, principal: Principal) -> bytes | ErrorCode | None:
    """The response's bytes, the code of an ApiError, or None for a request that waits or closes."""
    log = MemoryLog(TOPIC)
    log.append([b"value"] * 3, [1_700_000_000_000] * 3)
    context = make_context(make_broker(log), version, principal)
    try:
        result = api.handle(context, request)
        if isawaitable(result):
            task = asyncio.ensure_future(result)
            for _ in range(TURNS):
                await asyncio.sleep(0)
            if not task.done():
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
                assert log.subscribers == []
                return None
            result = await task
        return encode(result, version)  # while the log memory that it shows is leased
    except ApiError as error:
        return error.code
    except CloseConnection:
        return None
    finally:
        context.broker.groups.shut_down()
        context.release()


@pytest.mark.parametrize(("api", "version"), EVERY_VERSION, ids=name_of)
@given(data=st.data())
@settings(max_examples=15)
def test_a_well_formed_request_never_breaks_its_handler(api, version, data) -> None:
    request = data.draw(messages(api.request, version))
    with_known_names(request, data.draw(st.lists(st.sampled_from([TOPIC, GROUP, ""]), max_size=4)))
    principal = data.draw(st.sampled_from(PRINCIPALS))
    response = asyncio.run(outcome(api, version, request, principal))
    if isinstance(response, bytes):
        assert encode(decode(api.response, version, response), version) == response


@pytest.mark.parametrize(("api", "version"), EVERY_VERSION, ids=name_of)
@given(data=st.data())
@settings(max_examples=15)
def test_changed_bytes_are_a_request_or_close_the_connection(api, version, data) -> None:
    whole = bytearray(frame(api.key, version, 1, encode(data.draw(messages(api.request, version)), version)))
    for _ in range(data.draw(st.integers(1, 4))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    connection = Connection(SaslExchange(needs_login=data.draw(st.booleans())))
    connection.receive(bytes(whole))
    try:
        event = connection.next_event()
    except CloseConnection:
        return
    assert event is None or isinstance(event, Request)
