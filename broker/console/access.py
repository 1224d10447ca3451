"""Who may ask over HTTP, and what every answer tells a browser to keep to.

A request passes, in this order:

1.  *Its host.* Where nobody has to log in, the name it was sent to must be a loopback name or address, or one of
    `hosts`: else a page of somebody else's whose name is made to lead here (DNS rebinding) would read and change
    everything. With `hosts` it must be one of them in any case. `PROBE_PATHS` are answered under any name, as to
    somebody who is not logged in.
2.  *Where it comes from.* A change that a browser sends from a page of another origin is refused (`Origin`,
    `Sec-Fetch-Site`).
3.  *Who sends it.* A token (`Authorization: Bearer …`), a session's cookie, or anybody where nothing is configured;
    without either only what `is_open` lists is answered.
4.  *Its form.* A change that is no call of the API carries the token of a form this browser was given, as the field
    `csrf_token` or the header `X-CSRF-Token`. What the API takes is JSON, which no form of another origin can send.
5.  *Its size*, at most `BODY_BYTES_MAX`, and `STRANGERS_BODY_BYTES_MAX` of who is nobody yet.

Left to others: whether a password is right (`keys.py`), how long a session lasts (`sessions.py`), which addresses may
connect at all (`protocol.py`).
"""

from __future__ import annotations

import logging
import re
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote, urlencode, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse, RedirectResponse, Response

from broker.console.keys import Keys, Verdict
from broker.console.sessions import Sessions, is_cookie, new_cookie
from broker.listener import Address, host_name, origin
from broker.operations.operation import Caller, OperationError, Refusal

if TYPE_CHECKING:
    from collections.abc import Callable, MutableMapping

    from starlette.requests import Request
    from starlette.types import ASGIApp, Receive, Scope, Send

    from broker.console.audit import AuditLog

API: Final = "/api/"
LOGIN_PATH: Final = "/login"
LOGOUT_PATH: Final = "/logout"
BODY_BYTES_MAX: Final = 1 << 20
STRANGERS_BODY_BYTES_MAX: Final = 16 << 10
PROBE_PATHS: Final = ("/healthz", "/readyz")
"""Asked by whatever looks after processes, which knows an address and no name."""
OPEN_PATHS: Final = (LOGIN_PATH, LOGOUT_PATH, "/preferences", *PROBE_PATHS, "/favicon.ico")
SAFE_METHODS: Final = ("GET", "HEAD", "OPTIONS")
FAILED: Final = "Binwire failed at this; its log says why"
OPEN_NAME: Final = "anybody"
SIGNED_IN: Final = "console"

SECURITY_HEADERS: Final = {
    # `data:` is for the pictures that the style sheet has in it. There is no inline script and no inline style.
    "Content-Security-Policy": (
        "default-src 'self'; img-src 'self' data:; object-src 'none'; base-uri 'none'; form-action 'self'; "
        "frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    # Not `no-referrer`, which makes the Origin of a form `null`.
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
}
"""No Strict-Transport-Security: it would speak for every port of this host."""


_TOKEN_FIELD: Final = b"csrf_token="
_OWN_COOKIE: Final = re.compile(r"(?:__Host-)?binwire[-_][A-Za-z0-9_-]{1,32}=[A-Za-z0-9_.+/%-]{0,128}")

_log = logging.getLogger("binwire.console")


class Access:
    """Who asks by one request, and what the answer sets of cookies."""

    def __init__(self, guard: Guard, scope: Scope, cookie: str | None, host: str) -> None:
        self._guard = guard
        self._cookie = cookie
        self._is_secure = scope["scheme"] == "https"
        self._set_cookie: str | None = None
        self.host = host
        self.name = OPEN_NAME
        self.is_admitted = False
        """Whether more than what `is_open` lists is answered."""
        self.is_answered = False

    @property
    def origin(self) -> str:
        """The address under which limits count who asks."""
        return origin(self.host)

    @property
    def needs_login(self) -> bool:
        """Whether anything is configured that one logs in with."""
        return self._guard.keys.are_any

    @property
    def is_signed_in(self) -> bool:
        """Whether there is a session to end."""
        return self._cookie is not None and self._guard.sessions.find(self._cookie) is not None

    @property
    def csrf_token(self) -> str:
        """What a form carries that this browser is given; a browser without a cookie gets one with it."""
        if self._cookie is None:
            self._cookie = self._set_cookie = new_cookie()
        return self._guard.sessions.form_token(self._cookie)

    def owns_form(self, token: str) -> bool:
        """Whether a form that carries this was given to this browser."""
        return self._cookie is not None and self._guard.sessions.is_form_token(self._cookie, token)

    def caller(self, way: str) -> Caller:
        """Who asks, for the audit log."""
        return Caller(self.name, way, self.host)

    def admit(self, name: str) -> None:
        """It is known who asks, or that it does not matter."""
        self.name = name
        self.is_admitted = True

    async def sign_in(self, secret: str) -> None:
        """Begin a session for who knows the password, or a token. Raises OperationError."""
        keys, caller = self._guard.keys, Caller(SIGNED_IN, "console", self.host)
        verdict = await keys.try_password(secret, self.origin)
        if verdict is Verdict.WRONG and not keys.has_password:
            verdict, number = await keys.try_token(secret, self.origin)
            caller = self._guard.token_caller(number, "console", self.host)
        if verdict is not Verdict.RIGHT:
            error = refused_secret(verdict, "password" if keys.has_password else "token")
            await self._guard.audit.note_refused_login(caller, error)
            raise error
        if self._cookie is not None:
            self._guard.sessions.end(self._cookie)
        self._cookie = self._set_cookie = self._guard.sessions.begin(caller.name)
        self.admit(caller.name)
        await self._guard.audit.note_event("sign_in", caller)

    async def sign_out(self) -> None:
        """End the session, if there is one."""
        if self._cookie is not None and self.is_signed_in:
            self._guard.sessions.end(self._cookie)
            await self._guard.audit.note_event("sign_out", self.caller("console"))
        self._cookie = self._set_cookie = new_cookie()
        self.name, self.is_admitted = OPEN_NAME, not self.needs_login

    def cookie_header(self) -> str | None:
        """What the answer sets."""
        if self._set_cookie is None:
            return None
        secure = "; Secure" if self._is_secure else ""
        return f"{self._guard.cookie_name(self._is_secure)}={self._set_cookie}; Path=/; HttpOnly; SameSite=Lax{secure}"


class Guard:
    """Stands before the application: what it refuses does not reach it."""

    def __init__(
        self,
        app: ASGIApp,
        keys: Keys,
        sessions: Sessions,
        audit: AuditLog,
        refuse: Callable[[Scope, OperationError], Response],
    ) -> None:
        """`refuse` makes the answer for what is refused."""
        self._app = app
        self._refuse = refuse
        self.keys = keys
        self.sessions = sessions
        self.audit = audit
        self.hosts: frozenset[str] = frozenset()
        self.port = 0
        """The one bound, which tells cookies of one server from those of another on the same host."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            raise AssertionError(f"the listener speaks HTTP only, not {scope['type']}")
        host = "" if scope.get("client") is None else scope["client"][0].removeprefix("::ffff:")
        cookies = _own_cookies(scope)
        headers = Headers(scope=scope)
        cookie = cookies.get(self.cookie_name(scope["scheme"] == "https"), "")
        access = Access(self, scope, cookie if is_cookie(cookie) else None, host)
        scope["binwire.access"] = access
        body = _Body(receive)

        async def answer(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                access.is_answered = True
                _complete(MutableHeaders(raw=message["headers"]), access)
            await send(message)

        handle: ASGIApp = self._app
        try:
            await self._look(scope, headers, access, body)
        except OperationError as error:
            handle = self._turned_away(scope, headers, error)
        try:
            await handle(scope, body.receive, answer)
        except Exception:
            # What the application told of it has been sent: Starlette hands on what it answered.
            _log.exception("%s %s failed", scope["method"], scope["path"])
            if not access.is_answered:
                await PlainTextResponse(FAILED, 500)(scope, receive, answer)

    async def _look(self, scope: Scope, headers: Headers, access: Access, body: _Body) -> None:
        """Hold a request to the rules. Raises OperationError."""
        path, is_change = scope["path"], scope["method"] not in SAFE_METHODS
        try:
            self._check_host(headers)
        except OperationError:
            if path in PROBE_PATHS and not is_change:
                return  # not admitted: it is told what strangers may know
            raise
        if is_change:
            _check_origin(headers)
        is_token = await self._identify(headers, access, path)
        if not access.is_admitted and not is_open(path):
            raise OperationError(Refusal.UNAUTHENTICATED, _how_to_log_in(self.keys, path))
        body.limit_bytes = BODY_BYTES_MAX if access.is_admitted else STRANGERS_BODY_BYTES_MAX
        announced = headers.get("content-length", "")
        if announced.isdecimal() and int(announced[:20]) > body.limit_bytes:
            raise _too_large(body.limit_bytes)
        if is_change and not is_token and not path.startswith(API) and not await _has_form_token(headers, access, body):
            raise OperationError(
                Refusal.FORBIDDEN, "this form was not made for this browser, or before a restart; load the page again"
            )

    async def _identify(self, headers: Headers, access: Access, path: str) -> bool:
        """Find out who asks; whether it is by a token. Raises OperationError."""
        scheme, _, secret = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and self.keys.are_any:
            verdict, number = await self.keys.try_token(secret.strip(), access.origin)
            if verdict is Verdict.RIGHT:
                access.admit(self.token_caller(number, "api", access.host).name)
                return True
            error = refused_secret(verdict, "token")
            await self.audit.note_refused_login(self.token_caller(0, "api", access.host), error)
            raise error
        session = None if access._cookie is None else self.sessions.find(access._cookie)
        if session is not None:
            access.admit(session.name)
        elif not self.keys.are_any:
            access.admit(OPEN_NAME)
        return False

    def token_caller(self, number: int, way: str, host: str) -> Caller:
        """Who has a token, by its number."""
        return Caller(f"token {number}" if number else "a token", way, host)

    def cookie_name(self, secure: bool) -> str:
        """Cookies are shared by all ports of a host; with TLS the name keeps others from setting it."""
        return f"{'__Host-' if secure else ''}binwire-{self.port}"

    def _check_host(self, headers: Headers) -> None:
        given = headers.getlist("host")
        name = host_name(given[0]) if len(given) == 1 else None
        if name is None:
            raise OperationError(Refusal.INVALID, "the request names no host, or several")
        if name in self.hosts:
            return
        if self.hosts or (not self.keys.are_any and not Address(name, 0).is_loopback):
            raise OperationError(
                Refusal.FORBIDDEN,
                f"this server is not {name}; use a loopback address, or add the name to hosts of [console]",
            )

    def _turned_away(self, scope: Scope, headers: Headers, error: OperationError) -> Response:
        """The answer for what was refused before it reached the application."""
        path = scope["path"]
        if error.refusal is Refusal.UNAUTHENTICATED and not path.startswith(API) and "authorization" not in headers:
            if headers.get("hx-request") == "true":
                return Response(status_code=401, headers={"HX-Redirect": _login_after(scope, headers)})
            if scope["method"] in ("GET", "HEAD") and "text/html" in headers.get("accept", ""):
                query = scope["query_string"].decode("ascii", "replace")
                target = quote(path) + (f"?{query}" if query else "")
                return RedirectResponse(f"{LOGIN_PATH}?next={quote(target, safe='')}", 303)
        response = self._refuse(scope, error)
        if error.refusal is Refusal.UNAUTHENTICATED:
            response.headers["WWW-Authenticate"] = 'Bearer realm="binwire"'
        if error.refusal is Refusal.TOO_MANY_REQUESTS:
            response.headers["Retry-After"] = "5"
        return response


class _Body:
    """The body of a request: bounded, and looked at before the application reads it."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._read: bytes | None = None
        self._received_bytes = 0
        self.limit_bytes = BODY_BYTES_MAX

    async def receive(self) -> MutableMapping[str, Any]:
        """What the application gets. Raises OperationError."""
        if self._read is not None:
            body, self._read = self._read, None
            return {"type": "http.request", "body": body, "more_body": False}
        message = await self._receive()
        self._received_bytes += len(message.get("body", b""))
        if self._received_bytes > self.limit_bytes:
            raise _too_large(self.limit_bytes)
        return message

    async def peek(self) -> bytes:
        """All of it. Raises OperationError."""
        pieces, more = [], True
        while more:
            message = await self.receive()
            pieces.append(message.get("body", b""))
            more = message.get("more_body", False)
        self._read = b"".join(pieces)
        return self._read


async def _has_form_token(headers: Headers, access: Access, body: _Body) -> bool:
    token = headers.get("x-csrf-token")
    if token is None:
        # Nothing is decoded before it is known to be one of our forms.
        found = [pair for pair in (await body.peek()).split(b"&") if pair.startswith(_TOKEN_FIELD)]
        token = found[0].removeprefix(_TOKEN_FIELD).decode("ascii", "replace") if found else ""
    return access.owns_form(token)


def _own_cookies(scope: Scope) -> dict[str, str]:
    """Our cookies by name; others of this host, which may be long and in any form, do not reach the application."""
    pairs = [
        pair.strip()
        for name, value in scope["headers"]
        if name == b"cookie"
        for pair in value.decode("latin-1").split(";")
    ]
    own = [pair for pair in pairs if _OWN_COOKIE.fullmatch(pair)]
    scope["headers"] = [header for header in scope["headers"] if header[0] != b"cookie"]
    if own:
        scope["headers"].append((b"cookie", "; ".join(own).encode("ascii")))
    return dict(pair.split("=", 1) for pair in own)


def access_of(request: Request) -> Access:
    """Who asks by this request."""
    found = request.scope["binwire.access"]
    assert isinstance(found, Access)
    return found


def is_open(path: str) -> bool:
    """Whether this is answered without login: what signing in needs, and what a load balancer asks."""
    return path in OPEN_PATHS or path.startswith("/static/")


def _login_after(scope: Scope, headers: Headers) -> str:
    """The login that leads back to the page whose part or form was turned away, and says so of a form."""
    try:
        page = urlsplit(headers.get("hx-current-url", ""))
    except ValueError:
        page = urlsplit("")
    target = local_target(page.path + (f"?{page.query}" if page.query else ""))
    query = [("next", target)] if target != "/" else []
    if scope["method"] not in ("GET", "HEAD"):
        query.append(("said", "session_over"))
    return f"{LOGIN_PATH}?{urlencode(query)}" if query else LOGIN_PATH


def local_target(text: str) -> str:
    """Where to go after signing in: a path of this server, whatever the address bar was made to say."""
    try:
        parts = urlsplit(text.replace("\\", "/"))
    except ValueError:
        return "/"
    is_local = not parts.scheme and not parts.netloc and text.startswith("/") and not text.startswith(("//", "/\\"))
    return text if is_local and text.isprintable() and text.isascii() else "/"


def refused_secret(verdict: Verdict, kind: str) -> OperationError:
    """Why somebody did not get in."""
    if verdict is Verdict.LATER:
        return OperationError(Refusal.TOO_MANY_REQUESTS, f"too many try a {kind} at this time; try again")
    return OperationError(Refusal.UNAUTHENTICATED, f"this is not the {kind}", field=kind)


def _how_to_log_in(keys: Keys, path: str) -> str:
    if path.startswith(API):
        return "log in first: send a token as Authorization: Bearer, or sign in to the console"
    return f"sign in with the {'password' if keys.has_password else 'token'} first"


def _check_origin(headers: Headers) -> None:
    """Refuse what a page of another origin has a browser send. Raises OperationError."""
    site, sender = headers.get("sec-fetch-site", "none"), headers.get("origin")
    host = headers["host"].lower()
    foreign = site not in ("same-origin", "none")
    if sender is not None:
        scheme, _, place = sender.lower().partition("://")
        standing = {"http": ":80", "https": ":443"}.get(scheme, "")
        foreign = foreign or host.removesuffix(standing) != place.removesuffix(standing)
    if foreign:
        raise OperationError(Refusal.FORBIDDEN, "a page of another origin cannot change anything here")


def _too_large(limit_bytes: int) -> OperationError:
    return OperationError(Refusal.TOO_LARGE, f"the body is larger than {limit_bytes} bytes")


def _complete(headers: MutableHeaders, access: Access) -> None:
    """What every answer carries."""
    for name, value in SECURITY_HEADERS.items():
        headers.setdefault(name, value)
    headers.setdefault("Cache-Control", "no-store")
    if (cookie := access.cookie_header()) is not None:
        headers.append("Set-Cookie", cookie)
