"""SaslHandshake (key 17, v0-v1): choose the mechanism, and by the version how tokens travel.

v0: bare tokens without Kafka headers follow; v1: SaslAuthenticate requests. Another mechanism than PLAIN is answered
33 with the list, then the connection is closed. On a connection that is already READY: 34, an empty list, and nothing
changes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from broker.errors import ErrorCode
from broker.sasl import MECHANISM, AuthState, AuthStep
from broker.wire import INT16, STRING, Array, Message, wire

if TYPE_CHECKING:
    from broker.context import RequestContext


class SaslHandshakeRequest(Message):
    """The mechanism that the client wants."""

    mechanism: str = wire(STRING)


class SaslHandshakeResponse(Message):
    """The mechanisms there are."""

    error_code: int = wire(INT16, default=0)
    enabled_mechanisms: list[str] = wire(Array(STRING))


def handle(context: RequestContext, request: SaslHandshakeRequest) -> SaslHandshakeResponse:
    """Agree on PLAIN."""
    sasl = context.session.sasl
    if sasl.state is not AuthState.AWAIT_HANDSHAKE:
        return error(context.api_version, request, ErrorCode.ILLEGAL_SASL_STATE)
    if request.mechanism != MECHANISM:
        sasl.step(AuthStep.REFUSED)
        return SaslHandshakeResponse(error_code=ErrorCode.UNSUPPORTED_SASL_MECHANISM, enabled_mechanisms=[MECHANISM])
    sasl.step(AuthStep.HANDSHAKE_V0 if context.api_version == 0 else AuthStep.HANDSHAKE_V1)
    return SaslHandshakeResponse(enabled_mechanisms=[MECHANISM])


def error(
    version: int, request: SaslHandshakeRequest, code: ErrorCode, message: str | None = None
) -> SaslHandshakeResponse:
    """Answer with `code`."""
    return SaslHandshakeResponse(error_code=code, enabled_mechanisms=[])
