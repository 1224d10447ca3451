"""Who may log in: `<username>-<group id>` accounts, their slow hashes, and the brake on guessing.

Owns password verification. A password is never kept: what is stored is a salted scrypt verifier in the usual text form
(`$scrypt$ln=14,r=8,p=1$salt$hash`), and what is remembered in memory, of a login that succeeded or of a password that the
configuration file gives in clear, is an HMAC under a key made at start-up. So a reconnect costs microseconds, and scrypt
(44 ms) runs in a small thread pool, never on the loop.

Left to others: which APIs a principal may call (`broker/apis`), when a refused connection is closed (`connection.py`).
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import re
from typing import Final, NamedTuple

SCRYPT_LOG2_N: Final = 14  # 16 MiB and about 44 ms for one guess
SCRYPT_LOG2_N_MAX: Final = 17  # a verifier from a file may cost at most 128 MiB
SALT_BYTES: Final = 16
DIGEST_BYTES: Final = 32

_PHC = re.compile(r"\$scrypt\$ln=(\d{1,2}),r=(\d{1,2}),p=(\d{1,2})\$([A-Za-z0-9+/]{8,86})\$([A-Za-z0-9+/]{22,86})\Z")


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
        match = _PHC.match(text)
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
