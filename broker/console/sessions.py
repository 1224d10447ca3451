"""Sessions of browsers: who signed in, and the token that each form of theirs carries.

A browser has a cookie of 32 random bytes. Of those that signed in a hash is kept, in memory, with who it is and since
when; a restart, a change of the password and twelve hours end it. Signing in gives a new cookie, so that none that
somebody else may know of is ever worth anything.

The token of a form is an HMAC of the cookie: nothing of it is kept, and a browser that has not signed in, or need not,
has one too.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from storage.clock import Clock

SESSION_MS: Final = 12 * 3_600_000
SESSIONS_MAX: Final = 1_000
COOKIE_BYTES: Final = 32
COOKIE_CHARACTERS: Final = 43
"""Of those bytes in base64 without padding; a cookie of another length is none of ours."""


class Session(NamedTuple):
    """Somebody who signed in."""

    name: str
    begun_ms: int


class Sessions:
    """The sessions that last."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._key = os.urandom(32)
        self._sessions: dict[bytes, Session] = {}

    def begin(self, name: str) -> str:
        """The cookie of a new session; beyond `SESSIONS_MAX` the oldest ends."""
        if len(self._sessions) >= SESSIONS_MAX:
            del self._sessions[next(iter(self._sessions))]
        cookie = new_cookie()
        self._sessions[_kept(cookie)] = Session(name, self._clock.monotonic_ms())
        return cookie

    def find(self, cookie: str) -> Session | None:
        """The session of a cookie, None if it has none or it ended."""
        session = self._sessions.get(_kept(cookie))
        if session is not None and self._clock.monotonic_ms() - session.begun_ms >= SESSION_MS:
            self.end(cookie)
            return None
        return session

    def end(self, cookie: str) -> None:
        """No session has this cookie any more."""
        self._sessions.pop(_kept(cookie), None)

    def end_all(self) -> None:
        """Nobody is signed in any more."""
        self._sessions.clear()

    def form_token(self, cookie: str) -> str:
        """What a form carries that this browser was given."""
        return hmac.digest(self._key, cookie.encode(), "sha256").hex()

    def is_form_token(self, cookie: str, token: str) -> bool:
        """Whether a form that carries this was given to this browser."""
        return hmac.compare_digest(self.form_token(cookie).encode(), token.encode("utf-8", "surrogatepass"))


def new_cookie() -> str:
    """What a browser without a cookie is given."""
    return secrets.token_urlsafe(COOKIE_BYTES)


def is_cookie(text: str) -> bool:
    """Whether this may be one of ours."""
    return len(text) == COOKIE_CHARACTERS and text.isascii()


def _kept(cookie: str) -> bytes:
    return hashlib.sha256(cookie.encode("utf-8", "surrogatepass")).digest()
