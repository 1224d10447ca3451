"""SaslAuthenticate (key 36, v0): one PLAIN token after SaslHandshake v1.

A refusal is SASL_AUTHENTICATION_FAILED (58) with a message that clients show to their user; the connection is closed
once it is written. A login that was not looked at, because too many wait, closes without an answer: it may be right,
and clients take 58 for the end. sasl_auth_bytes is never null. On a connection that is already READY: 34, and nothing
changes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from broker.errors import CloseConnection, ErrorCode
from broker.sasl import AuthState, log_in
from broker.wire import BYTES, INT16, NULLABLE_STRING, Message, wire

if TYPE_CHECKING:
    from broker.context import RequestContext


class SaslAuthenticateRequest(Message):
    """A token; its content appears in no message and no log."""

    sasl_auth_bytes: bytes = wire(BYTES)

    def __repr__(self) -> str:
        return "SaslAuthenticateRequest(…)"


class SaslAuthenticateResponse(Message):
    """Whether the token was accepted."""

    error_code: int = wire(INT16, default=0)
    error_message: str | None = wire(NULLABLE_STRING, default=None)
    sasl_auth_bytes: bytes = wire(BYTES, default=b"")


async def handle(context: RequestContext, request: SaslAuthenticateRequest) -> SaslAuthenticateResponse:
    """Check the token; a success makes the session the principal's."""
    session = context.session
    if session.sasl.state is not AuthState.AWAIT_TOKEN:
        return error(context.api_version, request, ErrorCode.ILLEGAL_SASL_STATE)
    failure = await log_in(context.broker, request.sasl_auth_bytes, session)
    if failure is not None and not failure.is_final:
        raise CloseConnection(failure.message)
    if failure is not None:
        return error(context.api_version, request, ErrorCode.SASL_AUTHENTICATION_FAILED, failure.message)
    return SaslAuthenticateResponse()


def error(
    version: int, request: SaslAuthenticateRequest, code: ErrorCode, message: str | None = None
) -> SaslAuthenticateResponse:
    """Answer with `code`."""
    return SaslAuthenticateResponse(error_code=code, error_message=message)
