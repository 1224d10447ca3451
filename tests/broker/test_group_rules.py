"""The rules for groups at their bounds: names, usernames, passwords."""

from __future__ import annotations

import pytest

from broker.group_rules import allowed_name, allowed_username, broken_password


@pytest.mark.parametrize("name", ["a", "n" * 128, "订阅组", "😀", "</script>", "' OR 1=1 --", " "])
def test_a_name_is_any_text(name: str) -> None:
    assert allowed_name(name) is None


@pytest.mark.parametrize("name", ["", "n" * 129, "a\nb", "a\x00", "\x9b31m", "\ud800", "\x7f"])
def test_a_name_has_no_controls_and_at_most_128_characters(name: str) -> None:
    assert allowed_name(name) == "1 to 128 characters, none of them a control character"


@pytest.mark.parametrize("username", ["a", "dts_test_1234567", "_", "0"])
def test_usernames(username: str) -> None:
    assert allowed_username(username) is None


@pytest.mark.parametrize("username", ["", "u" * 17, "a-b", "a b", "é", "a\n", "١"])
def test_other_usernames(username: str) -> None:
    assert allowed_username(username) == "1 to 16 letters, digits or underscores"


@pytest.mark.parametrize("password", ["aaaaaaa1", "AAAAAAAa", "1234567!", "密码密码密码密1", "a" * 31 + "_"])
def test_passwords(password: str) -> None:
    assert broken_password(password) is None


@pytest.mark.parametrize(
    ("password", "found"),
    [
        ("aaaaaa1", "7 characters and 2 kinds"),
        ("aaaaaaaa", "8 characters and 1 kind "),
        ("A" * 32 + "1", "33 characters and 2 kinds"),
        ("", "0 characters and 0 kinds"),
        ("密码密码密码密码", "8 characters and 1 kind "),
    ],
)
def test_other_passwords(password: str, found: str) -> None:
    sentence = broken_password(password)
    assert sentence is not None
    assert f"found a password of {found}" in sentence
    assert not password or password not in sentence
