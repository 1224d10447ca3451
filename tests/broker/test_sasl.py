"""PLAIN tokens, and the login states against their table."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.principal import AuthFailure
from broker.sasl import TOKEN_BYTES_MAX, TRANSITIONS, AuthState, AuthStep, SaslExchange, parse_plain_token


@pytest.mark.parametrize(
    ("token", "expected"),
    [
        (b"\0dtstest-g1\0secret", ("dtstest-g1", "secret")),  # Java, librdkafka, sarama
        (b"dtstest-g1\0dtstest-g1\0secret", ("dtstest-g1", "secret")),  # kafka-python, kafka-node
        ("\0用户-g1\0密码".encode(), ("用户-g1", "密码")),
    ],
)
def test_a_token_gives_username_and_password(token: bytes, expected: tuple[str, str]) -> None:
    assert parse_plain_token(token) == expected


@pytest.mark.parametrize(
    ("token", "reason"),
    [
        (b"\0\0secret", "username not specified"),
        (b"\0user\0", "password not specified"),
        (b"somebody\0user\0secret", "authorization id that is different from username"),
        (b"user secret", "has 3 parts, this one has 1"),
        (b"\0user\0secret\0more", "has 3 parts, this one has 4"),
        (b"", "has 3 parts, this one has 1"),
        (b"\0user\0\xff", "not UTF-8"),
        (b"\0user\0secret" + bytes(500_000), "has 500012 bytes, more than 767"),
    ],
)
def test_a_bad_token_is_refused_without_its_content(token: bytes, reason: str) -> None:
    failure = parse_plain_token(token)
    assert isinstance(failure, AuthFailure)
    assert reason in failure.message
    assert "secret" not in failure.message


def test_each_part_may_have_the_octets_that_the_standard_wants_accepted() -> None:
    name, password = "n" * 255, "p" * 255
    token = f"{name}\0{name}\0{password}".encode()
    assert len(token) == TOKEN_BYTES_MAX
    assert parse_plain_token(token) == (name, password)
    assert isinstance(parse_plain_token(token + b"p"), AuthFailure)


_PARTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=40)


@given(username=_PARTS, password=_PARTS, names_itself=st.booleans())
def test_whatever_a_client_builds_is_split_again(username: str, password: str, names_itself: bool) -> None:
    token = b"\0".join(part.encode() for part in (username if names_itself else "", username, password))
    assert parse_plain_token(token) == (username, password)


@given(st.binary(max_size=60) | st.lists(st.sampled_from([b"\0", b"user", b"\xff"]), max_size=8).map(b"".join))
def test_any_bytes_are_a_login_or_refused(token: bytes) -> None:
    credentials = parse_plain_token(token)
    if not isinstance(credentials, AuthFailure):
        assert token.split(b"\0")[1:] == [part.encode() for part in credentials]


def test_no_prefix_is_the_login_and_nothing_may_follow() -> None:
    token = "\0dtstest-g1\0gehe\u00efm".encode()
    whole = parse_plain_token(token)
    for length in range(len(token)):
        assert parse_plain_token(token[:length]) != whole
    for rest in (b"\0", b"\0\0", b"\0\0\0\0", b"\0dtstest-g1\0secret"):
        assert isinstance(parse_plain_token(token + rest), AuthFailure)


def test_a_listener_without_login_is_ready_at_once() -> None:
    assert SaslExchange(needs_login=False).state is AuthState.READY
    assert SaslExchange(needs_login=True).state is AuthState.AWAIT_HANDSHAKE


@pytest.mark.parametrize(("state", "step"), list(itertools.product(AuthState, AuthStep)))
def test_every_step_is_in_the_table_or_our_bug(state: AuthState, step: AuthStep) -> None:
    exchange = SaslExchange(needs_login=True)
    exchange.state = state
    if (state, step) in TRANSITIONS:
        exchange.step(step)
        assert exchange.state is TRANSITIONS[state, step]
    else:
        with pytest.raises(KeyError):
            exchange.step(step)


def test_ready_is_reached_only_by_an_accepted_token() -> None:
    ways = {key for key, target in TRANSITIONS.items() if target is AuthState.READY}
    assert ways == {(AuthState.AWAIT_RAW_TOKEN, AuthStep.ACCEPTED), (AuthState.AWAIT_TOKEN, AuthStep.ACCEPTED)}
