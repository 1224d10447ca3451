"""PLAIN tokens, and the login states against their table."""

from __future__ import annotations

import itertools

import pytest

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
