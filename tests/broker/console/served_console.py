"""A console on a real socket in the test's own loop, over a control plane whose parts are stand-ins."""

from __future__ import annotations

import asyncio
import http.client
import re
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlencode

import msgspec

from broker.config import ConsoleConfig, Secret
from broker.console.audit import AuditLog
from broker.console.http import ConsoleServer
from broker.operations.plane import ControlPlane
from storage.scheduler import LoopScheduler, Scheduler
from tests.fakes import ManualClock

PASSWORD = "correct horse"
TOKEN = "token-of-the-tests"
# scrypt with N = 2: these are not to be kept secret, and cost nothing.
TOKEN_HASH = "$scrypt$ln=1,r=8,p=1$c2FsdHNhbHQ$6jGmL85+awlZoQ67ps5+EtBmAY2QXPzYeP5U+OxML1c"
FORM = "application/x-www-form-urlencoded"
_TIMEOUT_S = 60


class Answer(NamedTuple):
    """What came back."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes

    def json(self) -> Any:
        return msgspec.json.decode(self.body)

    @property
    def cookie(self) -> str:
        """The name and value of the cookie that it sets."""
        return self.headers["Set-Cookie"].partition(";")[0]


class NoChannels:
    """A `ChannelControl` without channels."""

    def views(self) -> list[Any]:
        return []

    def find_log(self, topic: str) -> None:
        return None


class Console:
    """A running one, and how it is asked."""

    def __init__(
        self, server: ConsoleServer, plane: ControlPlane, host: str, port: int, context: ssl.SSLContext | None
    ) -> None:
        self.server = server
        self.plane = plane
        self.host = host
        self.port = port
        self._context = context

    async def ask(
        self, method: str, target: str, headers: Mapping[str, str] | None = None, body: bytes | str | None = None
    ) -> Answer:
        """One request on a connection of its own."""
        return await asyncio.to_thread(self._ask, method, target, headers or {}, body)

    async def get(self, target: str, **headers: str) -> Answer:
        return await self.ask("GET", target, _named(headers))

    async def change(self, target: str, document: Any = None, **headers: str) -> Answer:
        """A POST to the REST interface."""
        body = msgspec.json.encode({} if document is None else document)
        return await self.ask("POST", target, {"Content-Type": "application/json"} | _named(headers), body)

    async def submit(self, target: str, fields: Mapping[str, str], **headers: str) -> Answer:
        """A form, as a browser sends it."""
        return await self.ask("POST", target, {"Content-Type": FORM} | _named(headers), urlencode(fields))

    async def form(self) -> tuple[str, str]:
        """What a browser gets with the login page: its cookie, and the token of the form."""
        answer = await self.get("/login")
        found = re.search(rb'name="csrf_token" value="([0-9a-f]{64})"', answer.body)
        assert found is not None, answer.body
        return answer.cookie, found[1].decode()

    async def sign_in(self, password: str = PASSWORD) -> Answer:
        """The answer to a right password typed into the login page."""
        cookie, token = await self.form()
        return await self.submit("/login", {"password": password, "csrf_token": token}, cookie=cookie)

    def _ask(self, method: str, target: str, headers: Mapping[str, str], body: bytes | str | None) -> Answer:
        if self._context is None:
            connection = http.client.HTTPConnection(self.host, self.port, timeout=_TIMEOUT_S)
        else:
            connection = http.client.HTTPSConnection(self.host, self.port, timeout=_TIMEOUT_S, context=self._context)
        try:
            connection.request(method, target, body, dict(headers))
            response = connection.getresponse()
            return Answer(response.status, response.headers, response.read())
        finally:
            connection.close()


def _named(headers: Mapping[str, str]) -> dict[str, str]:
    return {name.replace("_", "-"): value for name, value in headers.items()}


def config(**keys: Any) -> ConsoleConfig:
    """A table `[console]` on any port of loopback."""
    secrets = {key: Secret(value) for key, value in keys.items() if key in ("password", "password_hash")}
    if "tokens" in keys:
        secrets["tokens"] = [Secret(each) for each in keys["tokens"]]  # type: ignore[assignment]
    return ConsoleConfig(**{"bind": "127.0.0.1:0", **keys, **secrets})


def make_plane(folder: Path, clock: ManualClock) -> ControlPlane:
    audit = AuditLog(folder, clock)
    plane = ControlPlane(clock=clock, channels=NoChannels(), audit=audit)  # type: ignore[arg-type]
    plane.audit_log = audit
    plane.listeners = lambda: {"public": "127.0.0.1:18001"}

    async def reload() -> str:
        return "the groups are as they were"

    plane.reload = reload
    return plane


@asynccontextmanager
async def served(
    folder: Path,
    table: ConsoleConfig | None = None,
    *,
    clock: ManualClock | None = None,
    scheduler: Scheduler | None = None,
    context: ssl.SSLContext | None = None,
) -> AsyncIterator[Console]:
    """Serve, and be loaded, within the block."""
    clock = clock or ManualClock()
    plane = make_plane(folder, clock)
    server = ConsoleServer(table or config(), clock, scheduler or LoopScheduler())
    address = await server.start(lambda: plane)
    try:
        yield Console(server, plane, "localhost" if context else address.host, address.port, context)
    finally:
        await server.close()
