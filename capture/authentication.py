"""The answers to a server that asks for another way to log in than its greeting proposed.

asyncmy knows most of them (its `_process_auth`). Here are the one it lacks, the one it gets wrong, and the refusal of
those that would give the password away:

    client_ed25519           MariaDB: a signature of the 32 bytes that came (`capture/ed25519.py`)
    caching_sha2_password    the challenge is 20 bytes and a NUL, which is none of it; with it the fast way always fails
    mysql_clear_password     the password itself (LDAP, PAM): only to a server whose certificate was verified
    dialog                   MariaDB's PAM: likewise

Anything else, a second factor among it, is refused with one sentence. No password is in a text.
"""

from __future__ import annotations

import asyncio
import importlib
from typing import TYPE_CHECKING, Any

from capture.ed25519 import CHALLENGE_BYTES, sign
from capture.errors import SourceRefused
from capture.source import Tls

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from capture.source import SourceAddress

SHA2_CHALLENGE_BYTES = 20

_KNOWN = ("mysql_native_password", "sha256_password")
_CLEAR = ("mysql_clear_password", "dialog")
_VERIFIED = (Tls.VERIFY_CA, Tls.VERIFY_IDENTITY)


async def answer(
    connection: Any,
    address: SourceAddress,
    plugin: str,
    packet: Any,
    usual: Callable[[bytes, Any], Awaitable[Any]],
) -> Any:
    """Answer a request to log in by `plugin`; returns the server's last packet. Raises SourceRefused."""
    if plugin == "client_ed25519":
        challenge = packet.read_all()[:CHALLENGE_BYTES]
        return await _exchange(connection, await asyncio.to_thread(sign, connection._password, challenge))
    if plugin == "caching_sha2_password":
        return await _caching_sha2(connection, packet)
    if plugin in _CLEAR and address.tls not in _VERIFIED:
        raise SourceRefused(
            f"{address} asks for the password in clear text ({plugin}), which only a server whose certificate was "
            f"verified gets; set tls=verify_ca or tls=verify_identity in the source address"
        )
    if plugin not in (*_KNOWN, *_CLEAR):
        raise SourceRefused(
            f"the account {address.user} of {address} logs in by {plugin!r}, which Binwire does not know; give it one "
            f"of caching_sha2_password, sha256_password, mysql_native_password or, on MariaDB, ed25519"
        )
    return await usual(plugin.encode(), packet)


async def _exchange(connection: Any, data: bytes) -> Any:
    connection.write_packet(data)
    packet = await connection.read_packet()
    packet.check_error()
    return packet


async def _caching_sha2(connection: Any, packet: Any) -> Any:
    auth: Any = importlib.import_module("asyncmy.auth")
    connection.salt = packet.read_all()[:SHA2_CHALLENGE_BYTES]
    reply = await _exchange(connection, auth.scramble_caching_sha2(connection._password, connection.salt))
    return await auth.caching_sha2_password_auth(connection, reply) if connection._password else reply
