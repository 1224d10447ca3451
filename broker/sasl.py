"""How a connection comes to be authenticated: the states, their transitions, and the PLAIN token.

States of a connection, and what a client may do in each (SaslServerAuthenticator@1.1.1):

    AWAIT_HANDSHAKE   ApiVersions in any number, or SaslHandshake; anything else closes the connection
    AWAIT_RAW_TOKEN   after SaslHandshake v0: one frame is the bare token, without Kafka header; the answer is 00000000
    AWAIT_TOKEN       after SaslHandshake v1: SaslAuthenticate; anything else gets ILLEGAL_SASL_STATE, then is closed
    READY             everything; SaslHandshake and SaslAuthenticate are answered ILLEGAL_SASL_STATE and change nothing
    CLOSED            nothing is read any more

A listener without login starts in READY. Which API is admitted where stands in the API table. A refused raw token
cannot be answered: the connection is closed, after a delay that keeps clients up to 0.11 from reconnecting in a tight
loop.

PLAIN (RFC 4616): `authzid NUL username NUL password`, UTF-8. The authzid is empty (Java, librdkafka, sarama) or the
username again (kafka-python, kafka-node); any other is refused, as by Kafka 1.1. What is longer than the parts that
RFC 4616 has every server accept is refused unread: names of strangers are remembered (`brake.py`, `notices.py`), and
remembered whole. Tokens and passwords appear in no message or log.
"""

from __future__ import annotations

import logging
from enum import Enum
from typing import TYPE_CHECKING, Final

from broker import quirks
from broker.listener import origin
from broker.principal import AuthFailure, Principal

if TYPE_CHECKING:
    from broker.context import Broker, Session

MECHANISM: Final = "PLAIN"
TOKEN_BYTES_MAX: Final = 3 * 255 + 2
"""Largest PLAIN token: three parts of 255 octets (RFC 4616, section 2) and two NULs; our names have up to 81."""


class AuthState(Enum):
    """Where a connection stands on its way to being served."""

    AWAIT_HANDSHAKE = "await handshake"
    AWAIT_RAW_TOKEN = "await raw token"  # noqa: S105 - a state's name
    AWAIT_TOKEN = "await token"  # noqa: S105
    READY = "ready"
    CLOSED = "closed"


class AuthStep(Enum):
    """What moves a connection from one state to the next."""

    HANDSHAKE_V0 = "handshake v0"
    HANDSHAKE_V1 = "handshake v1"
    ACCEPTED = "accepted"
    REFUSED = "refused"


TRANSITIONS: Final = {
    (AuthState.AWAIT_HANDSHAKE, AuthStep.HANDSHAKE_V0): AuthState.AWAIT_RAW_TOKEN,
    (AuthState.AWAIT_HANDSHAKE, AuthStep.HANDSHAKE_V1): AuthState.AWAIT_TOKEN,
    (AuthState.AWAIT_HANDSHAKE, AuthStep.REFUSED): AuthState.CLOSED,
    (AuthState.AWAIT_RAW_TOKEN, AuthStep.ACCEPTED): AuthState.READY,
    (AuthState.AWAIT_RAW_TOKEN, AuthStep.REFUSED): AuthState.CLOSED,
    (AuthState.AWAIT_TOKEN, AuthStep.ACCEPTED): AuthState.READY,
    (AuthState.AWAIT_TOKEN, AuthStep.REFUSED): AuthState.CLOSED,
    # The connection ended while its token was looked at.
    (AuthState.CLOSED, AuthStep.ACCEPTED): AuthState.CLOSED,
    (AuthState.CLOSED, AuthStep.REFUSED): AuthState.CLOSED,
}

BEFORE_LOGIN: Final = frozenset({AuthState.AWAIT_HANDSHAKE, AuthState.AWAIT_RAW_TOKEN, AuthState.AWAIT_TOKEN})


class SaslExchange:
    """The state of one connection; every change goes through `TRANSITIONS`."""

    __slots__ = ("state",)

    def __init__(self, *, needs_login: bool) -> None:
        self.state = AuthState.AWAIT_HANDSHAKE if needs_login else AuthState.READY

    def step(self, step: AuthStep) -> None:
        """Move on; a step that the table does not have is our bug."""
        self.state = TRANSITIONS[self.state, step]

    def close(self) -> None:
        """Admit nothing more."""
        self.state = AuthState.CLOSED


def parse_plain_token(token: bytes) -> tuple[str, str] | AuthFailure:
    """Split a PLAIN token into username and password."""
    if len(token) > TOKEN_BYTES_MAX:
        return AuthFailure(
            f"Authentication failed: the SASL/PLAIN token has {len(token)} bytes, more than {TOKEN_BYTES_MAX}"
        )
    try:
        parts = token.decode().split("\0")
    except UnicodeDecodeError:
        return AuthFailure("Authentication failed: the SASL/PLAIN token is not UTF-8")
    if len(parts) != 3:
        return AuthFailure(f"Authentication failed: a SASL/PLAIN token has 3 parts, this one has {len(parts)}")
    authorization_id, username, password = parts
    if not username:
        return AuthFailure("Authentication failed: username not specified")
    if not password:
        return AuthFailure("Authentication failed: password not specified")
    if authorization_id not in {"", username}:
        return AuthFailure(
            "Authentication failed: Client requested an authorization id that is different from username"
        )
    return username, password


async def log_in(broker: Broker, token: bytes, session: Session) -> AuthFailure | None:
    """Check a PLAIN token and move the session on: to its principal and READY, or to CLOSED. Return why it was
    refused.
    """
    listener, host = session.listener, session.client_host
    credentials = parse_plain_token(token)
    if isinstance(credentials, AuthFailure):
        result: Principal | AuthFailure = credentials
    else:
        username, password = credentials
        result = await broker.authenticator.authenticate(username, password, origin(host))
    if isinstance(result, AuthFailure):
        text = f"login from {host} on listener {listener.name}: {result.message}"
        broker.notices.tell(logging.WARNING, ("login", listener.name, host, result.message), text)
        unrecognised = quirks.let_in(listener, credentials, result)
        if unrecognised is None:
            session.sasl.step(AuthStep.REFUSED)
            return result
        result = unrecognised
    session.principal = result
    session.sasl.step(AuthStep.ACCEPTED)
    return None
