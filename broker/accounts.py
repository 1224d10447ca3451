"""Who may log in: `<username>-<group id>` accounts, their slow hashes, and the brake on guessing.

Owns password verification. A password is never kept: what is stored is a salted scrypt verifier in the usual text
form (`$scrypt$ln=14,r=8,p=1$salt$hash`), and what is remembered in memory, of a login that succeeded or of a password
that the configuration file gives in clear, is an HMAC under a key made at start-up. So a reconnect costs microseconds,
and scrypt (44 ms) runs in a small thread pool, never on the loop.

The brake: a user name with `FREE_FAILURES` failures in a minute is answered, right or wrong, only after
`BRAKE_DELAY_S`, and at most `BRAKE_WAITERS_MAX` attempts wait at a time; what comes on top is refused unseen. So
guessing is slow, and the rightful user is delayed, not locked out.

Left to others: which APIs a principal may call (`broker/apis`), when a refused connection is closed (`connection.py`).
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import os
import re
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final, NamedTuple

from broker.principal import AuthFailure, Principal

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from broker.listener import Listener
    from storage.clock import Clock

VERIFY_THREADS: Final = 2
VERIFY_WAITERS_MAX: Final = 64  # logins that may wait for a thread, about 1.4 s of work
FREE_FAILURES: Final = 10
FAILURE_WINDOW_MS: Final = 60_000
BRAKE_DELAY_S: Final = 1.0
BRAKE_WAITERS_MAX: Final = 4
BRAKED_NAMES_MAX: Final = 10_000  # names with recent failures that are remembered; the oldest are forgotten first
SCRYPT_LOG2_N: Final = 14  # 16 MiB and about 44 ms for one guess
SCRYPT_LOG2_N_MAX: Final = 17  # a verifier from a file may cost at most 128 MiB
SALT_BYTES: Final = 16
DIGEST_BYTES: Final = 32

_PHC: Final = r"\$scrypt\$ln=(\d{1,2}),r=(\d{1,2}),p=(\d{1,2})\$([A-Za-z0-9+/]{8,86})\$([A-Za-z0-9+/]{22,86})"


class Verifier(NamedTuple):
    """A scrypt verifier: parameters, salt and the hash a right password gives."""

    log2_n: int
    r: int
    p: int
    salt: bytes
    digest: bytes

    @classmethod
    def create(cls, password: str) -> Verifier:
        """A new verifier for this password. Takes tens of milliseconds: call it off the loop."""
        salt = os.urandom(SALT_BYTES)
        return cls(SCRYPT_LOG2_N, 8, 1, salt, _scrypt(password, SCRYPT_LOG2_N, 8, 1, salt, DIGEST_BYTES))

    @classmethod
    def parse(cls, text: str) -> Verifier:
        """Read the text form; `ValueError` if it is not one or asks for more memory than allowed."""
        match = re.fullmatch(_PHC, text)
        if match is None:
            raise ValueError("not a scrypt verifier")
        log2_n, r, p = int(match[1]), int(match[2]), int(match[3])
        if not (1 <= log2_n <= SCRYPT_LOG2_N_MAX and 1 <= r <= 8 and 1 <= p <= 4):
            raise ValueError("scrypt parameters out of range")
        return cls(log2_n, r, p, _from_base64(match[4]), _from_base64(match[5]))

    def __str__(self) -> str:
        return f"$scrypt$ln={self.log2_n},r={self.r},p={self.p}${_to_base64(self.salt)}${_to_base64(self.digest)}"

    def __repr__(self) -> str:
        return "<scrypt verifier>"

    def matches(self, password: str) -> bool:
        """Whether this is the password. Takes tens of milliseconds: call it off the loop."""
        digest = _scrypt(password, self.log2_n, self.r, self.p, self.salt, len(self.digest))
        return hmac.compare_digest(digest, self.digest)


def _scrypt(password: str, log2_n: int, r: int, p: int, salt: bytes, digest_bytes: int) -> bytes:
    memory_bytes = (128 * r << log2_n) + 128 * r * p + (1 << 20)
    secret = password.encode("utf-8", "surrogatepass")
    return hashlib.scrypt(secret, salt=salt, n=1 << log2_n, r=r, p=p, maxmem=memory_bytes, dklen=digest_bytes)


def _to_base64(data: bytes) -> str:
    return base64.b64encode(data).decode().rstrip("=")


def _from_base64(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4))


class Account(NamedTuple):
    """One consumer group's login. `verifier` None: the password is known only as a remembered HMAC."""

    username: str
    group_id: str
    topic: str
    verifier: Verifier | None = None

    @property
    def login(self) -> str:
        """The name clients send."""
        return f"{self.username}-{self.group_id}"


class Accounts:
    """All accounts of a broker; its `Authenticator`."""

    def __init__(self, clock: Clock, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep) -> None:
        self._accounts: dict[str, Account] = {}
        self._remembered: dict[str, bytes] = {}
        self.group_ids: set[str] = set()
        self._key = os.urandom(32)
        self._brake = _Brake(clock, sleep)
        self._pool: ThreadPoolExecutor | None = None
        self._verifying = 0
        self._decoy: Verifier | None = None

    def put(self, account: Account, password: str | None = None) -> None:
        """Add or replace an account; a password given in clear is remembered as an HMAC and not kept."""
        self._accounts[account.login] = account
        self.group_ids.add(account.group_id)
        self._remembered.pop(account.login, None)
        if password is not None:
            self._remembered[account.login] = self._hmac(account.login, password)

    def remove(self, group_id: str) -> None:
        """Forget the account of a group; logins with it fail from now on."""
        self.group_ids.discard(group_id)
        for account in [account for account in self._accounts.values() if account.group_id == group_id]:
            del self._accounts[account.login]
            self._remembered.pop(account.login, None)

    async def authenticate(self, username: str, password: str, listener: Listener) -> Principal | AuthFailure:
        """Check a login; the name is `<username>-<group id>`. One message for all reasons: names cannot be probed."""
        if not username or not password:
            return AuthFailure(f"Authentication failed: {'password' if username else 'username'} not specified")
        failure = AuthFailure(f"Authentication failed: Invalid username or password, username:{username}")
        if not await self._brake.admit(username):
            return failure
        account = self._accounts.get(username)
        right = await self._is_right(username, account, password)
        if account is None or not right:
            self._brake.failed(username)
            return failure
        return Principal(username=username, group_id=account.group_id, topics=frozenset((account.topic,)))

    def close(self) -> None:
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)

    async def _is_right(self, login: str, account: Account | None, password: str) -> bool:
        remembered = self._remembered.get(login)
        offered = self._hmac(login, password)
        if remembered is not None and hmac.compare_digest(remembered, offered):
            return True
        verifier = self._decoy_verifier() if account is None else account.verifier
        if verifier is None or not await self._verify(verifier, password):
            return False
        if account is None or self._accounts.get(login) is not account:
            return False
        self._remembered[login] = offered
        return True

    def _decoy_verifier(self) -> Verifier | None:
        """A verifier nobody's password fits, so that an unknown name costs the time of a wrong password."""
        if self._decoy is None and any(account.verifier is not None for account in self._accounts.values()):
            self._decoy = Verifier(SCRYPT_LOG2_N, 8, 1, os.urandom(SALT_BYTES), os.urandom(DIGEST_BYTES))
        return self._decoy

    async def _verify(self, verifier: Verifier, password: str) -> bool:
        if self._verifying >= VERIFY_WAITERS_MAX:
            return False
        if self._pool is None:
            self._pool = ThreadPoolExecutor(VERIFY_THREADS, thread_name_prefix="password")
        self._verifying += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, verifier.matches, password)
        finally:
            self._verifying -= 1

    def _hmac(self, login: str, password: str) -> bytes:
        message = f"{login}\0{password}".encode("utf-8", "surrogatepass")
        return hmac.digest(self._key, message, "sha256")


class _Failures:
    __slots__ = ("count", "since_ms", "waiting")

    def __init__(self, since_ms: int) -> None:
        self.since_ms = since_ms
        self.count = 0
        self.waiting = 0


class _Brake:
    """Failed logins by name, and the wait they cost."""

    def __init__(self, clock: Clock, sleep: Callable[[float], Awaitable[None]]) -> None:
        self._clock = clock
        self._sleep = sleep
        self._by_name: dict[str, _Failures] = {}

    async def admit(self, name: str) -> bool:
        """Wait as long as this name has to; False if too many wait already."""
        failures = self._current(name)
        if failures is None or failures.count < FREE_FAILURES:
            return True
        if failures.waiting >= BRAKE_WAITERS_MAX:
            return False
        failures.waiting += 1
        try:
            await self._sleep(BRAKE_DELAY_S)
        finally:
            failures.waiting -= 1
        return True

    def failed(self, name: str) -> None:
        failures = self._current(name)
        if failures is None:
            if len(self._by_name) >= BRAKED_NAMES_MAX:
                del self._by_name[next(iter(self._by_name))]
            failures = self._by_name[name] = _Failures(self._clock.monotonic_ms())
        failures.count += 1

    def _current(self, name: str) -> _Failures | None:
        failures = self._by_name.get(name)
        if failures is None or failures.waiting or self._clock.monotonic_ms() - failures.since_ms < FAILURE_WINDOW_MS:
            return failures
        del self._by_name[name]
        return None
