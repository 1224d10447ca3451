"""Who may log in: `<username>-<group id>` accounts, their slow hashes, and the brake on guessing.

Owns password verification. A password is never kept: what is stored is a salted scrypt verifier in the usual text
form (`$scrypt$ln=14,r=8,p=1$salt$hash`), and what is remembered in memory, of a login that succeeded or of a password
that the configuration file gives in clear, is an HMAC under a key made at start-up. So a reconnect costs microseconds,
and scrypt (44 ms) runs in a small thread pool, never on the loop.

Every attempt passes the brake first (`brake.py`); what then costs a hash waits for a thread, a bounded number in all
and of one origin, so that no guesser takes the threads of everybody. What finds no place is turned away unseen, to try
again.

Left to others: which APIs a principal may call (`broker/apis`), when a refused connection is closed (`client.py`).
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import os
import re
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final, NamedTuple

from broker.brake import Brake
from broker.principal import AuthFailure, Principal

if TYPE_CHECKING:
    from storage.clock import Clock
    from storage.scheduler import Scheduler

VERIFY_THREADS: Final = 2
VERIFY_WAITERS_MAX: Final = 64  # logins that may wait for a thread, about 1.4 s of work
VERIFY_WAITERS_PER_ORIGIN_MAX: Final = 16
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
    """One consumer group's login. `verifier` None: the password is known only as a remembered HMAC.

    `connections_max`: how many connections it may have at a time; 0: any number.
    """

    username: str
    group_id: str
    topic: str
    verifier: Verifier | None = None
    connections_max: int = 0

    @property
    def login(self) -> str:
        """The name clients send."""
        return f"{self.username}-{self.group_id}"


class Accounts:
    """All accounts of a broker; its `Authenticator`."""

    def __init__(self, clock: Clock, scheduler: Scheduler) -> None:
        self._accounts: dict[str, Account] = {}
        self._remembered: dict[str, bytes] = {}
        self.group_ids: set[str] = set()
        self._key = os.urandom(32)
        self._brake = Brake(clock, scheduler)
        self._pool: ThreadPoolExecutor | None = None
        self._verifying: Counter[str] = Counter()
        self._decoy: Verifier | None = None

    def put(self, account: Account, password: str | None = None) -> bool:
        """Add or replace the account of a group; return whether what a client logs in with is another than before.

        A password given in clear is remembered as an HMAC and not kept.
        """
        given = None if password is None else self._hmac(account.login, password)
        before = self._accounts.get(account.login)
        if before is not None and before.group_id == account.group_id and self._is_same(before, account, given):
            self._accounts[account.login] = account
            return False
        self.remove(account.group_id)
        self._accounts[account.login] = account
        self.group_ids.add(account.group_id)
        if given is not None:
            self._remembered[account.login] = given
        return True

    def _is_same(self, before: Account, account: Account, given: bytes | None) -> bool:
        if account.verifier is not None or before.verifier is not None:
            return account.verifier == before.verifier
        return given is not None and hmac.compare_digest(self._remembered.get(account.login, b""), given)

    def remove(self, group_id: str) -> None:
        """Forget the account of a group, and that it ever logged in; logins with it fail from now on."""
        self.group_ids.discard(group_id)
        for account in [account for account in self._accounts.values() if account.group_id == group_id]:
            del self._accounts[account.login]
            self._remembered.pop(account.login, None)
            self._brake.forget(account.login)

    def connections_max(self, group_id: str) -> int:
        """The quota of a group, 0: none."""
        return next((each.connections_max for each in self._accounts.values() if each.group_id == group_id), 0)

    async def authenticate(self, username: str, password: str, origin: str) -> Principal | AuthFailure:
        """Check a login; the name is `<username>-<group id>`. One message for all reasons: names cannot be probed."""
        if not username or not password:
            return AuthFailure(f"Authentication failed: {'password' if username else 'username'} not specified")
        if not await self._brake.admit(username, origin):
            return AuthFailure(f"too many logins of {username} or from {origin} wait already", is_final=False)
        account = self._accounts.get(username)
        try:
            right = await self._is_right(username, account, password, origin)
        except asyncio.CancelledError:
            # Whoever guesses without waiting for the answer takes the threads all the same.
            self._brake.failed(username, origin)
            raise
        if right is None:
            return AuthFailure("too many logins wait for their passwords to be checked", is_final=False)
        if account is None or not right:
            self._brake.failed(username, origin)
            return AuthFailure(f"Authentication failed: Invalid username or password, username:{username}")
        self._brake.succeeded(username, origin)
        # As it is now, which may be another quota than when the check began.
        account = self._accounts[username]
        topics = frozenset((account.topic,))
        return Principal(username, account.group_id, topics, connections_max=account.connections_max)

    def close(self) -> None:
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)

    async def _is_right(self, login: str, account: Account | None, password: str, origin: str) -> bool | None:
        """Whether this is the password; None: it could not be looked at."""
        remembered = self._remembered.get(login)
        offered = self._hmac(login, password)
        if remembered is not None and hmac.compare_digest(remembered, offered):
            return True
        verifier = self._decoy_verifier() if account is None else account.verifier
        if verifier is None:
            return False
        verified = await self._verify(verifier, password, origin)
        if not verified or account is None:
            return None if verified is None else False
        now = self._accounts.get(login)
        if now is None or now.verifier != verifier:
            return False
        self._remembered[login] = offered
        return True

    def _decoy_verifier(self) -> Verifier | None:
        """A verifier nobody's password fits, so that an unknown name costs the time of a wrong password."""
        if self._decoy is None and any(account.verifier is not None for account in self._accounts.values()):
            self._decoy = Verifier(SCRYPT_LOG2_N, 8, 1, os.urandom(SALT_BYTES), os.urandom(DIGEST_BYTES))
        return self._decoy

    async def _verify(self, verifier: Verifier, password: str, origin: str) -> bool | None:
        """Hash and compare in a thread; None if too many wait for one."""
        if self._verifying.total() >= VERIFY_WAITERS_MAX or self._verifying[origin] >= VERIFY_WAITERS_PER_ORIGIN_MAX:
            return None
        if self._pool is None:
            self._pool = ThreadPoolExecutor(VERIFY_THREADS, thread_name_prefix="password")
        self._verifying[origin] += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, verifier.matches, password)
        finally:
            self._verifying[origin] -= 1
            if not self._verifying[origin]:
                del self._verifying[origin]

    def _hmac(self, login: str, password: str) -> bytes:
        message = f"{login}\0{password}".encode("utf-8", "surrogatepass")
        return hmac.digest(self._key, message, "sha256")
