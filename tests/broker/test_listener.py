"""Addresses as people write them."""

from __future__ import annotations

import pytest

from broker.listener import Address, Security


@pytest.mark.parametrize(
    ("text", "host", "port", "is_loopback"),
    [
        ("127.0.0.1:18001", "127.0.0.1", 18001, True),
        ("localhost:0", "localhost", 0, True),
        ("0.0.0.0:18001", "0.0.0.0", 18001, False),
        ("db.example:65535", "db.example", 65535, False),
        ("[::1]:18001", "::1", 18001, True),
    ],
)
def test_an_address_reads_and_prints_alike(text: str, host: str, port: int, is_loopback: bool) -> None:
    address = Address.parse(text)
    assert (address.host, address.port, address.is_loopback, str(address)) == (host, port, is_loopback, text)


@pytest.mark.parametrize(
    "text", ["", "18001", ":18001", "host:", "host:port", "host:65536", "::1:18001", "host:-1", "h:１"]
)
def test_a_bad_address_is_one_sentence_with_the_value(text: str) -> None:
    with pytest.raises(ValueError, match="address") as raised:
        Address.parse(text)
    assert repr(text) in str(raised.value)


def test_only_plaintext_needs_no_login() -> None:
    assert [each.needs_login for each in Security] == [False, True, True]
