"""MariaDB's `ed25519` accounts: the answer to a server's challenge, an Ed25519 signature (RFC 8032, section 5.1.6).

It differs from the RFC in one thing: the secret is a password of any length where the RFC has 32 bytes, so that no
library's signing fits. With a password of 32 bytes both are the same (plugin/auth_ed25519 in MariaDB's sources). One
signature is made per connection and takes a few milliseconds. It does not hide the password from who can measure how
long that takes on this machine.

Points of the curve are in extended coordinates (X, Y, Z, T) with x = X/Z, y = Y/Z, x y = T/Z.
"""

from __future__ import annotations

from hashlib import sha512

CHALLENGE_BYTES = 32

_P = 2**255 - 19
_ORDER = 2**252 + 27742317777372353535851937790883648493
_D = -121665 * pow(121666, -1, _P) % _P

_Point = tuple[int, int, int, int]


def _base() -> _Point:
    """The point with y = 4/5 and an even x."""
    y = 4 * pow(5, -1, _P) % _P
    square = (y * y - 1) * pow(_D * y * y + 1, -1, _P)
    x = pow(square, (_P + 3) // 8, _P)
    if (x * x - square) % _P:
        x = x * pow(2, (_P - 1) // 4, _P) % _P
    x = min(x, _P - x, key=lambda root: root % 2)
    return x, y, 1, x * y % _P


def _add(one: _Point, other: _Point) -> _Point:
    a = (one[1] - one[0]) * (other[1] - other[0]) % _P
    b = (one[1] + one[0]) * (other[1] + other[0]) % _P
    c = 2 * one[3] * other[3] * _D % _P
    d = 2 * one[2] * other[2] % _P
    e, f, g, h = b - a, d - c, d + c, b + a
    return e * f % _P, g * h % _P, f * g % _P, e * h % _P


def _multiply(scalar: int, point: _Point) -> _Point:
    product: _Point = (0, 1, 1, 0)
    while scalar:
        if scalar & 1:
            product = _add(product, point)
        point = _add(point, point)
        scalar >>= 1
    return product


def _encode(point: _Point) -> bytes:
    inverse = pow(point[2], -1, _P)
    x, y = point[0] * inverse % _P, point[1] * inverse % _P
    return (y | (x & 1) << 255).to_bytes(32, "little")


def sign(password: bytes, message: bytes) -> bytes:
    """The 64 bytes that prove to know `password`."""
    digest = sha512(password).digest()
    secret = (int.from_bytes(digest[:32], "little") & (1 << 254) - 8) | 1 << 254
    base = _base()
    public = _encode(_multiply(secret, base))
    nonce = int.from_bytes(sha512(digest[32:] + message).digest(), "little") % _ORDER
    commitment = _encode(_multiply(nonce, base))
    challenge = int.from_bytes(sha512(commitment + public + message).digest(), "little") % _ORDER
    return commitment + ((nonce + challenge * secret) % _ORDER).to_bytes(32, "little")
