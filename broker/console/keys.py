"""The console's password and tokens: whether what somebody sent is one of them.

Nothing in clear is kept: a hash is a scrypt verifier as accounts have them (`broker/accounts.py`), a password that the
configuration gives in clear is remembered as an HMAC under a key made at the start, and so is a token that was found
right once, so that only its first request costs a hash.

Every attempt passes the brake first (`broker/brake.py`), under the name of what is guessed at. What then costs a hash
waits for a thread, a bounded number in all and of one origin; what finds no place is turned away unseen.
"""

from __future__ import annotations

import asyncio
import hmac
import os
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from enum import Enum
from typing import TYPE_CHECKING, Final

from broker.accounts import Verifier
from broker.brake import Brake

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from broker.config import ConsoleConfig
    from storage.clock import Clock
    from storage.scheduler import Scheduler

PASSWORD: Final = "password"  # noqa: S105 - the name under which it is guessed at
TOKEN: Final = "token"  # noqa: S105 - likewise
SECRET_CHARACTERS_MAX: Final = 1024
HASH_THREADS: Final = 1
WAITING_MAX: Final = 16
WAITING_PER_ORIGIN_MAX: Final = 4


class Verdict(Enum):
    """What became of an attempt."""

    RIGHT = "right"
    WRONG = "wrong"
    LATER = "later"
    """It was not looked at: too many wait."""


class Keys:
    """What opens the control plane."""

    def __init__(self, config: ConsoleConfig, clock: Clock, scheduler: Scheduler) -> None:
        self._brake = Brake(clock, scheduler)
        self._hmac_key = os.urandom(32)
        self._pool: ThreadPoolExecutor | None = None
        self._waiting: Counter[str] = Counter()
        self._password: bytes | None = None
        self._password_hash: Verifier | None = None
        self._tokens: list[Verifier] = []
        self._right: dict[bytes, int] = {}
        """Tokens that were right, as HMACs, and their numbers."""
        self.take(config)

    def take(self, config: ConsoleConfig) -> bool:
        """Have these from now on; whether they are others than before."""
        before = self._password, self._password_hash, self._tokens
        self._password = None if config.password is None else self._digest(config.password.reveal())
        self._password_hash = None if config.password_hash is None else Verifier.parse(config.password_hash.reveal())
        self._tokens = [Verifier.parse(token.reveal()) for token in config.tokens]
        if before == (self._password, self._password_hash, self._tokens):
            return False
        self._right.clear()
        self._brake.forget(PASSWORD)
        self._brake.forget(TOKEN)
        return True

    @property
    def has_password(self) -> bool:
        return self._password is not None or self._password_hash is not None

    @property
    def are_any(self) -> bool:
        return self.has_password or bool(self._tokens)

    def close(self) -> None:
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)

    async def try_password(self, secret: str, origin: str) -> Verdict:
        """Look at a password."""

        async def is_right() -> bool | None:
            if self._password is not None:
                return hmac.compare_digest(self._digest(secret), self._password)
            return None if self._password_hash is None else await self._matches(self._password_hash, secret, origin)

        if not self.has_password:
            return Verdict.WRONG
        return await self._tried(PASSWORD, origin, secret, is_right)

    async def try_token(self, secret: str, origin: str) -> tuple[Verdict, int]:
        """Look at a token; with its number if it is right, from 1 on in the order of the configuration."""
        number = 0

        async def is_right() -> bool | None:
            nonlocal number
            digest = self._digest(secret)
            number = self._right.get(digest, 0)
            tokens = self._tokens
            for index, verifier in enumerate(tokens if not number else (), start=1):
                matches = await self._matches(verifier, secret, origin)
                if matches is None or tokens is not self._tokens:
                    return None
                if matches:
                    number = self._right[digest] = index
                    break
            return number > 0

        if not self._tokens:
            return Verdict.WRONG, 0
        return await self._tried(TOKEN, origin, secret, is_right), number

    async def _tried(
        self, name: str, origin: str, secret: str, is_right: Callable[[], Awaitable[bool | None]]
    ) -> Verdict:
        if not secret or len(secret) > SECRET_CHARACTERS_MAX:
            return Verdict.WRONG
        if not await self._brake.admit(name, origin):
            return Verdict.LATER
        try:
            right = await is_right()
        except asyncio.CancelledError:
            # Whoever guesses without waiting for the answer takes the thread all the same.
            self._brake.failed(name, origin)
            raise
        if right is None:
            return Verdict.LATER
        if not right:
            self._brake.failed(name, origin)
            return Verdict.WRONG
        self._brake.succeeded(name, origin)
        return Verdict.RIGHT

    async def _matches(self, verifier: Verifier, secret: str, origin: str) -> bool | None:
        """Hash and compare in a thread; None if too many wait for one."""
        if self._waiting.total() >= WAITING_MAX or self._waiting[origin] >= WAITING_PER_ORIGIN_MAX:
            return None
        if self._pool is None:
            self._pool = ThreadPoolExecutor(HASH_THREADS, thread_name_prefix="console password")
        self._waiting[origin] += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, verifier.matches, secret)
        finally:
            self._waiting[origin] -= 1
            if not self._waiting[origin]:
                del self._waiting[origin]

    def _digest(self, secret: str) -> bytes:
        return hmac.digest(self._hmac_key, secret.encode("utf-8", "surrogatepass"), "sha256")
