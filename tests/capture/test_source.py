"""Source addresses: what is read, what is refused, and that no password gets out."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from capture.source import SourceAddress, SourceAddressError, Tls


def test_a_whole_server_address() -> None:
    url = (
        "mysql://repl:p%40ss%2Fw%3Ard%20%231@db1.example:3307,[2001:db8::1],db3/?tls=verify-identity&tls_ca=/etc/ca.pem"
    )
    address = SourceAddress.parse(url)
    assert address.hosts == (("db1.example", 3307), ("2001:db8::1", 3306), ("db3", 3306))
    assert (address.user, address.password) == ("repl", "p@ss/w:rd #1")
    assert (address.tls, address.tls_ca) == (Tls.VERIFY_IDENTITY, "/etc/ca.pem")
    assert str(address) == "mysql://repl@db1.example:3307,[2001:db8::1]:3306,db3:3306"


def test_defaults() -> None:
    address = SourceAddress.parse("mariadb://u@h")
    assert (address.hosts, address.password, address.tls) == ((("h", 3306),), "", Tls.PREFERRED)


def test_a_password_with_an_at_sign_as_people_type_it() -> None:
    assert SourceAddress.parse("mysql://u:p@ss@h").password == "p@ss"


def test_files() -> None:
    address = SourceAddress.parse("file:///var/log/my%20sql/bin.000001,bin.000002?follow=true")
    assert address.paths == ("/var/log/my sql/bin.000001", "/var/log/my sql/bin.000002")
    assert address.follow
    assert str(address) == "file:///var/log/my sql/bin.000001,/var/log/my sql/bin.000002"


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("postgres://u:secret@h", "postgres"),
        ("u:secret@h", "allowed are mysql://"),
        ("mysql://h", "user and a host"),
        ("mysql://:secret@h", "user and a host"),
        ("mysql://u:secret@", "user and a host"),
        ("mysql://u:secret@h:0", "host:port"),
        ("mysql://u:secret@h:65536", "host:port"),
        ("mysql://u:secret@h?tls=always", "allowed are disabled, preferred"),
        ("mysql://u:secret@h?ssl=1", "'ssl'"),
        ("mysql://u:secret@h?tls=required&tls=disabled", "'tls' more than once"),
        ("mysql://u:secret@h,h:3306", "names h:3306 more than once"),
        ("mysql://u:secret@h/shop", "stands in objects"),
        ("mysql://u:one?secret@h", "written %3F"),
        ("mysql://u:one@two?tls=secret@h", "written %3F"),
        ("file://", "names no binlog file"),
        ("file:///x.1?follow=yes", "allowed are true and false"),
        ("file:///x.1?tls=required", "'tls'"),
    ],
)
def test_what_cannot_be_used_is_said_without_the_password(url: str, words: str) -> None:
    with pytest.raises(SourceAddressError) as raised:
        SourceAddress.parse(url)
    assert words in str(raised.value)
    assert "secret" not in str(raised.value)


@given(st.text(st.characters(codec="utf-8"), min_size=8))
def test_no_printed_form_holds_the_password(secret: str) -> None:
    from urllib.parse import quote

    address = SourceAddress.parse(f"mysql://user:{quote(secret, safe='')}@host")
    assert address.password == secret
    assert str(address) == "mysql://user@host:3306"
    assert "password" not in repr(address)
