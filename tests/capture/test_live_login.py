"""Every way to log in that a live server has, and what people are told of an account that cannot."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

import pymysql
import pytest

from capture.authentication import answer
from capture.errors import CaptureError, SourceRefused, SourceUnavailable
from capture.mysql_source import WAIT_TIMEOUT_S, MysqlSource
from capture.source import SourceAddress
from storage.clock import SystemClock
from tests import certificates
from tests.capture.world import WAIT_S
from tests.tools import debian
from tests.tools.debian import PackageSet
from tests.tools.workplace import SERVERS_DIRECTORY, ToolError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.live_server import LiveServer

PASSWORD = "Gehe1m-ü:@/? longer than the thirty-two bytes of a seed"
MARIADB_PLUGINS = PackageSet("mariadb1011-plugins", "bookworm", (), alone=("mariadb-server",))
"""The server package itself, for the plugins that the core package leaves out."""


async def log_in(server: LiveServer, user: str, password: str = PASSWORD, options: str = "") -> str:
    """The account a session of `user` has. Raises what the source raises."""
    source = MysqlSource(SourceAddress.parse(server.url(user, password) + options), 4713, SystemClock())
    try:
        async with asyncio.timeout(WAIT_S):
            return str((await source.query("SELECT CURRENT_USER()"))[0][0]).partition("@")[0]
    finally:
        await source.close()


async def refusal(server: LiveServer, user: str, password: str = PASSWORD) -> CaptureError:
    with pytest.raises((SourceRefused, SourceUnavailable)) as raised:
        await log_in(server, user, password)
    assert password not in str(raised.value)
    assert "\n" not in str(raised.value)
    return raised.value


# ---- ways ----


@pytest.fixture
def ed25519_server(server_factory: Callable[..., LiveServer]) -> LiveServer:
    try:
        root: Path = debian.unpack(MARIADB_PLUGINS, SERVERS_DIRECTORY / MARIADB_PLUGINS.name)
    except ToolError as error:
        pytest.skip(f"MariaDB's ed25519 plugin cannot be had: {error}")
    return server_factory("mariadb1011", f"--plugin-dir={root / 'usr/lib/mysql/plugin'}", "--plugin-maturity=unknown")


@pytest.mark.server("mariadb1011")
async def test_ed25519(ed25519_server: LiveServer) -> None:
    server = ed25519_server
    server.execute("INSTALL SONAME 'auth_ed25519'")
    for number, password in enumerate(("x", PASSWORD, "y" * 32)):
        server.execute(f"CREATE USER ed{number}@'%%' IDENTIFIED VIA ed25519 USING PASSWORD(%s)", (password,))
        assert await log_in(server, f"ed{number}", password) == f"ed{number}"
    assert "denies access" in str(await refusal(server, "ed0", "wrong"))


@pytest.mark.server("mysql97")
async def test_ways_that_the_greeting_did_not_propose(server_factory: Callable[..., LiveServer]) -> None:
    """An account's plugin other than the server's own is asked for by a switch, with another challenge; without
    TLS the full way goes by RSA.
    """
    server = await asyncio.to_thread(server_factory, "mysql97", "--authentication-policy=sha256_password,,")
    server.execute("CREATE USER sha2@'%%' IDENTIFIED WITH caching_sha2_password BY %s", (PASSWORD,))
    server.execute("CREATE USER nothing@'%' IDENTIFIED WITH caching_sha2_password BY ''")
    server.execute("CREATE USER old@'%%' IDENTIFIED WITH sha256_password BY %s", (PASSWORD,))
    for options in ("?tls=disabled", "?tls=disabled", "?tls=required"):
        assert await log_in(server, "sha2", options=options) == "sha2"
        assert await log_in(server, "nothing", "", options) == "nothing"
        assert await log_in(server, "old", options=options) == "old"


async def test_no_password(server: LiveServer) -> None:
    server.execute("CREATE USER nopassword@'%'")
    assert await log_in(server, "nopassword", "") == "nopassword"


@pytest.mark.server("mysql97")
async def test_a_client_certificate(mysql97: LiveServer) -> None:
    directory = mysql97.instance.data_directory
    mysql97.execute("CREATE USER certified@'%%' IDENTIFIED BY %s REQUIRE X509", (PASSWORD,))
    options = f"?tls=verify_ca&tls_ca={directory / 'ca.pem'}"
    certified = f"{options}&tls_cert={directory / 'client-cert.pem'}&tls_key={directory / 'client-key.pem'}"
    assert await log_in(mysql97, "certified", options=certified) == "certified"
    with pytest.raises(SourceRefused, match="denies access"):
        await log_in(mysql97, "certified", options=options)


# ---- accounts that cannot ----


@pytest.mark.parametrize("kind", ["mysql97", "mariadb1011"])
async def test_a_locked_account(kind: str, request: pytest.FixtureRequest) -> None:
    server: LiveServer = request.getfixturevalue(kind)
    server.execute("CREATE USER locked@'%%' IDENTIFIED BY %s ACCOUNT LOCK", (PASSWORD,))
    assert "locked" in str(await refusal(server, "locked")).replace("'locked'", "")


async def test_an_expired_password(server: LiveServer) -> None:
    server.execute("CREATE USER expired@'%%' IDENTIFIED BY %s", (PASSWORD,))
    server.execute("ALTER USER expired@'%' PASSWORD EXPIRE")
    assert "password of its account has expired; ALTER USER" in str(await refusal(server, "expired"))


@pytest.mark.server("mysql97")
async def test_too_many_connections_are_waited_out(server_factory: Callable[..., LiveServer]) -> None:
    server = await asyncio.to_thread(server_factory, "mysql97")
    server.execute("CREATE USER often@'%%' IDENTIFIED BY %s WITH MAX_CONNECTIONS_PER_HOUR 1", (PASSWORD,))
    assert await log_in(server, "often") == "often"
    assert isinstance(await refusal(server, "often"), SourceUnavailable)
    server.execute("SET GLOBAL max_connections = 2")
    with contextlib.ExitStack() as stack, contextlib.suppress(pymysql.err.OperationalError):
        while True:
            stack.enter_context(server.connect())
            if isinstance(failure := await _failure(server), SourceUnavailable):
                assert "Too many connections" in str(failure)
                break


async def _failure(server: LiveServer) -> CaptureError | None:
    try:
        await log_in(server, server.repl_user, server.repl_password)
    except CaptureError as error:
        return error
    return None


# ---- ways that are not taken, played ----


class _Packet:
    def __init__(self, data: bytes) -> None:
        self._data = data

    def read_all(self) -> bytes:
        return self._data


@pytest.mark.parametrize("plugin", ["mysql_clear_password", "dialog", "mysql_old_password", "authentication_webauthn"])
async def test_a_password_is_given_away_to_nobody(plugin: str) -> None:
    async def usual(_: bytes, __: Any) -> Any:
        raise AssertionError("answered")

    address = SourceAddress.parse("mysql://u:geheim@h?tls=required")
    with pytest.raises(SourceRefused) as raised:
        await answer(None, address, plugin, _Packet(b""), usual)
    assert plugin in str(raised.value)
    assert "geheim" not in str(raised.value)


# ---- TLS and time ----


@pytest.mark.parametrize("kind", ["mysql97", "mariadb1011"])
async def test_the_name_in_the_certificate_is_verified_when_asked(
    kind: str, server_factory: Callable[..., LiveServer], tmp_path: Path
) -> None:
    files = await asyncio.to_thread(certificates.make, tmp_path)
    options = (f"--ssl-ca={files.ca}", f"--ssl-cert={files.cert}", f"--ssl-key={files.key}")
    server = await asyncio.to_thread(server_factory, kind, *options)
    user, password = server.repl_user, server.repl_password
    for tls in ("preferred", "required", f"verify_ca&tls_ca={files.ca}", f"verify_identity&tls_ca={files.ca}"):
        assert await log_in(server, user, password, f"?tls={tls}") == user
    with pytest.raises(SourceRefused, match="not trusted"):
        await log_in(server, user, password, "?tls=verify_identity")


async def test_a_server_that_closes_idle_connections_early(server: LiveServer) -> None:
    (before,) = server.execute("SELECT @@GLOBAL.wait_timeout")[0]
    server.execute("SET GLOBAL wait_timeout = 1")
    source = MysqlSource(SourceAddress.parse(server.url()), 4713, SystemClock())
    try:
        assert await source.query("SELECT @@SESSION.wait_timeout") == [(str(WAIT_TIMEOUT_S),)]
    finally:
        await source.close()
        server.execute(f"SET GLOBAL wait_timeout = {before}")
