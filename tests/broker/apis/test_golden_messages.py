"""Every API and version against messages that Kafka 1.1.1's own classes wrote, whole, cut, bent and byte by byte.

The file is held against those classes by `tests/interop/test_kafka_codec.py`, which needs Java; this needs none. An
API or version that is added to the table fails here until the file has it.
"""

from __future__ import annotations

import struct

import pytest

from broker.apis import APIS
from broker.connection import Connection, Request
from broker.errors import WireError
from broker.sasl import SaslExchange
from broker.wire import Message, decode, decode_from, encode
from tests.broker.api_values import EVERY_VERSION
from tests.broker.frames import frame
from tests.broker.golden_messages import ELEMENTS, Golden, count_positions, read_golden, values_of

GOLDEN = read_golden()
REQUESTS = [each for each in GOLDEN if each.kind == "Q"]


def id_of(golden: Golden) -> str:
    return f"{APIS[golden.key].name}-{golden.kind}{golden.version}-{golden.elements}"


def class_of(golden: Golden) -> type[Message]:
    api = APIS[golden.key]
    return api.request if golden.kind == "Q" else api.response


def test_every_api_and_version_has_its_golden_messages() -> None:
    wanted = [
        (api.key, kind, version, elements) for api, version in EVERY_VERSION for kind in "QR" for elements in ELEMENTS
    ]
    assert [each[:4] for each in GOLDEN] == wanted


@pytest.mark.parametrize("golden", GOLDEN, ids=id_of)
def test_we_read_what_kafka_wrote_and_write_the_same_bytes(golden: Golden) -> None:
    message, end = decode_from(class_of(golden), golden.version, golden.body)
    assert end == len(golden.body)
    assert values_of(message, golden.version) == golden.values
    assert encode(message, golden.version) == golden.body


@pytest.mark.parametrize("golden", GOLDEN, ids=id_of)
def test_no_prefix_passes_and_what_follows_is_ignored(golden: Golden) -> None:
    cls, version, body = class_of(golden), golden.version, golden.body
    for length in range(len(body)):
        with pytest.raises(WireError):
            decode(cls, version, body[:length])
    whole = decode(cls, version, body)
    for rest in (b"\0\0\0\0", b"\xff" * 9, body):
        assert decode_from(cls, version, body + rest) == (whole, len(body))


@pytest.mark.parametrize("golden", GOLDEN, ids=id_of)
def test_no_array_may_count_more_than_the_bytes_left_can_hold_nor_less_than_null(golden: Golden) -> None:
    cls, version, body = class_of(golden), golden.version, golden.body
    for position in count_positions(decode(cls, version, body), version):
        left = len(body) - position - 4
        for count in (left + 1, 1 << 16, (1 << 31) - 1, -2, -(1 << 31)):
            bent = bytearray(body)
            struct.pack_into(">i", bent, position, count)
            with pytest.raises(WireError, match=r"needs \d+ bytes, \d+ are left|has length -"):
                decode(cls, version, bytes(bent))


@pytest.mark.parametrize("golden", REQUESTS, ids=id_of)
def test_a_request_is_there_with_its_last_byte_and_not_before(golden: Golden) -> None:
    connection = Connection(SaslExchange(needs_login=False))
    whole = frame(golden.key, golden.version, 7, golden.body)
    for byte in whole[:-1]:
        connection.receive(bytes([byte]))
        assert connection.next_event() is None
    connection.receive(whole[-1:])
    request = connection.next_event()
    assert isinstance(request, Request)
    assert (request.api.key, request.api_version, request.correlation_id) == (golden.key, golden.version, 7)
    assert values_of(request.body, golden.version) == golden.values
