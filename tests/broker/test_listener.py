"""Addresses as people write them."""

from __future__ import annotations

import ipaddress

import pytest

from broker import listener as listener_module
from broker.listener import Address, Listener, Security, address_range, origin, public_address


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


@pytest.mark.parametrize(
    ("ranges", "host", "is_admitted"),
    [
        ((), "192.0.2.1", True),
        (("10.0.0.0/8",), "10.255.0.1", True),
        (("10.0.0.0/8",), "11.0.0.1", False),
        (("10.1.2.3/8",), "10.255.0.1", True),  # a range named by one of its hosts
        (("192.0.2.7",), "192.0.2.7", True),
        (("192.0.2.7", "::1"), "::1", True),
        (("0.0.0.0/0",), "2001:db8::1", False),
        (("::/0",), "192.0.2.7", False),
        (("::ffff:10.0.0.0/104",), "10.255.0.1", True),
        (("10.0.0.0/8",), "::ffff:10.255.0.1", True),
        (("fe80::/10",), "fe80::1%eth0", True),
        (("10.0.0.0/8",), "?", False),
    ],
)
def test_who_may_connect(ranges: tuple[str, ...], host: str, is_admitted: bool) -> None:
    allow_from = tuple(address_range(text) for text in ranges)
    listener = Listener("public", Address("::", 0), Security.SASL_PLAINTEXT, allow_from=allow_from)
    assert listener.admits(host) is is_admitted


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("?", "?"),
    ],
)
def test_limits_count_what_one_host_has_for_nothing_as_one(host: str, expected: str) -> None:
    assert origin(host) == expected


@pytest.mark.parametrize(
    ("bound", "advertised", "public"),
    [
        ("127.0.0.1", None, None),
        ("10.0.0.1", None, None),
        ("192.168.1.2", None, None),
        ("100.64.0.1", None, None),  # a provider's NAT
        ("169.254.1.1", None, None),
        ("fd00::1", None, None),
        ("fe80::1%eth0", None, None),
        ("8.8.8.8", None, "8.8.8.8"),
        ("2001:4860::1", None, "2001:4860::1"),
        ("10.0.0.1", "8.8.8.8", "8.8.8.8"),
        ("10.0.0.1", "db.example", None),
        ("0.0.0.0", None, "9.9.9.9"),
        ("::", None, "9.9.9.9"),
        ("::1", None, None),
    ],
)
def test_what_the_world_may_reach(
    bound: str, advertised: str | None, public: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = [ipaddress.ip_address(text) for text in ("10.0.0.1", "9.9.9.9", "2001:4860::2")]
    monkeypatch.setattr(listener_module, "_outgoing_addresses", lambda: ours)
    told = None if advertised is None else Address(advertised, 18001)
    assert public_address(Address(bound, 18001), told) == public


def test_a_wildcard_stands_for_the_addresses_of_its_family_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listener_module, "_outgoing_addresses", lambda: [ipaddress.ip_address("2001:4860::2")])
    assert public_address(Address("0.0.0.0", 18001)) is None
    assert public_address(Address("::", 18001)) == "2001:4860::2"


def test_the_routing_table_is_asked_without_sending() -> None:
    assert all(not address.is_unspecified for address in listener_module._outgoing_addresses())


def test_clear_text_on_a_public_address_has_its_sentence() -> None:
    bound = Address("8.8.8.8", 18001)
    with_login = Listener("public", bound, Security.SASL_PLAINTEXT).exposure(bound)
    assert with_login is not None
    assert with_login.startswith("listener public sends passwords and data in clear text to whoever reaches 8.8.8.8; ")
    without = Listener("open", bound, Security.PLAINTEXT, allow_anonymous=True).exposure(bound)
    assert without is not None
    assert without.startswith("listener open lets whoever reaches 8.8.8.8 read every topic without login; ")
    assert Listener("private", bound, Security.SASL_PLAINTEXT).exposure(Address("10.0.0.1", 18001)) is None
