"""Who may ask the console, and what those try who may not: every way in over real HTTP."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from broker.console import access as access_module
from broker.console import sessions as sessions_module
from broker.console.access import (
    BODY_BYTES_MAX,
    SECURITY_HEADERS,
    STRANGERS_BODY_BYTES_MAX,
    local_target,
)
from broker.console.keys import PASSWORD as GUESSED_AT
from broker.listener import host_name
from tests.broker.console.served_console import FORM, PASSWORD, TOKEN, TOKEN_HASH, Console, config, served
from tests.fakes import ManualClock, ManualScheduler

SERVER = "/api/v1/server"
RELOAD = "/api/v1/reload"
BEARER = {"Authorization": f"Bearer {TOKEN}"}


def audited(folder: Path) -> list[dict[str, object]]:
    """The entries of the audit log, oldest first."""
    file = folder / "audit.jsonl"
    return [json.loads(line) for line in file.read_text("utf-8").splitlines()] if file.exists() else []


# --- without a password ---


async def test_on_loopback_without_a_password_anybody_may_ask_and_change(open_console: Console) -> None:
    assert (await open_console.get(SERVER)).json()["listeners"] == [{"name": "public", "address": "127.0.0.1:18001"}]
    assert (await open_console.change(RELOAD)).json() == {"message": "the groups are as they were"}


@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "127.0.0.1.evil.example", "192.0.2.1"])
async def test_a_name_that_was_made_to_lead_here_is_refused(open_console: Console, host: str) -> None:
    """DNS rebinding: the page's own origin is then this server's address under the name of who made the page."""
    for answer in (await open_console.get(SERVER, Host=host), await open_console.get("/login", Host=host)):
        assert answer.status == 403
        assert b"this server is not" in answer.body


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:1", "127.0.0.1", "127.8.8.8:80", "[::1]:18080", "localhost."])
async def test_loopback_names_lead_here(open_console: Console, host: str) -> None:
    assert (await open_console.get(SERVER, Host=host)).status == 200


async def test_names_of_the_configuration_lead_here_and_then_no_others(tmp_path: Path) -> None:
    async with served(tmp_path, config(hosts=["Binwire.example.org"], password=PASSWORD)) as console:
        assert (await console.get("/login", Host="binwire.example.org:443")).status == 200
        assert (await console.get("/login", Host="localhost")).status == 403


@pytest.mark.parametrize("host", ["", "a b", "[::1", "localhost:99999", "user@localhost", "localhost/x"])
async def test_a_host_that_is_none_is_refused(open_console: Console, host: str) -> None:
    assert (await open_console.get(SERVER, Host=host)).status in (400, 403)


# --- changes that a page of another origin has a browser send ---


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://["},
        {"Origin": ""},
        {"Origin": "http://127.0.0.1:1"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
async def test_a_page_of_another_origin_changes_nothing(
    console: Console, open_console: Console, headers: dict[str, str], tmp_path: Path
) -> None:
    answer = await open_console.change(RELOAD, **headers)
    assert (answer.status, answer.json()["refusal"]) == (403, "forbidden")
    cookie, token = await console.form()
    answer = await console.submit("/login", {"password": PASSWORD, "csrf_token": token}, Cookie=cookie, **headers)
    assert answer.status == 403
    assert audited(tmp_path) == []


async def test_a_page_of_this_origin_changes_what_it_likes(open_console: Console) -> None:
    own = {"Origin": f"http://127.0.0.1:{open_console.port}", "Sec-Fetch-Site": "same-origin"}
    assert (await open_console.change(RELOAD, **own)).status == 200


@pytest.mark.parametrize("kind", ["text/plain", FORM, "multipart/form-data; boundary=x", ""])
async def test_what_a_form_can_send_is_no_call_of_the_api(open_console: Console, kind: str) -> None:
    """Those types a browser sends without asking first; JSON it does not."""
    answer = await open_console.ask("POST", RELOAD, {"Content-Type": kind}, b"{}")
    assert (answer.status, answer.json()["refusal"]) == (415, "unsupported_type")


@pytest.mark.parametrize("fields", [{}, {"csrf_token": ""}, {"csrf_token": "0" * 64}])
async def test_a_form_without_its_token_is_refused(console: Console, fields: dict[str, str]) -> None:
    cookie, _ = await console.form()
    answer = await console.submit("/login", {"password": PASSWORD} | fields, Cookie=cookie)
    assert answer.status == 403
    assert "Set-Cookie" not in answer.headers


async def test_a_forms_token_is_worth_nothing_with_another_cookie_or_none(console: Console) -> None:
    _, token = await console.form()
    other, _ = await console.form()
    for headers in ({}, {"Cookie": other}):
        assert (await console.submit("/login", {"password": PASSWORD, "csrf_token": token}, **headers)).status == 403


async def test_the_token_may_come_as_a_header(console: Console) -> None:
    cookie, token = await console.form()
    answer = await console.submit("/login", {"password": PASSWORD}, Cookie=cookie, X_CSRF_Token=token)
    assert answer.status == 303


# --- signing in ---


@pytest.mark.parametrize("target", [SERVER, "/api/v1/openapi.json", "/api/v1/audit", "/api/v1/nothing"])
async def test_the_api_asks_for_a_token(console: Console, target: str) -> None:
    answer = await console.get(target)
    assert (answer.status, answer.json()["refusal"]) == (401, "unauthenticated")
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")


async def test_a_token_opens_the_api_and_is_named_in_the_audit_log(console: Console, tmp_path: Path) -> None:
    assert (await console.get(SERVER, **BEARER)).status == 200
    assert (await console.change(RELOAD, **BEARER)).status == 200
    [entry] = audited(tmp_path)
    assert (entry["name"], entry["way"], entry["operation"]) == ("token 1", "api", "reload")


@pytest.mark.parametrize("value", ["Bearer", "Bearer ", "Bearer x", f"Bearer {TOKEN}x", "Bearer " + "x" * 5000])
async def test_a_wrong_token_opens_nothing_that_is_open_without_one_either(console: Console, value: str) -> None:
    assert (await console.get(SERVER, Authorization=value)).status == 401
    assert (await console.get("/login", Authorization=value)).status == 401


async def test_a_page_leads_to_the_login_and_back(console: Console) -> None:
    answer = await console.get("/channels?page=2&x=a%26b", Accept="text/html")
    assert answer.status == 303
    assert answer.headers["Location"] == "/login?next=%2Fchannels%3Fpage%3D2%26x%3Da%2526b"


async def test_a_fragment_has_the_whole_page_go_to_the_login(console: Console) -> None:
    answer = await console.get("/channels", HX_Request="true")
    assert (answer.status, answer.headers["HX-Redirect"]) == (401, "/login")


@pytest.mark.parametrize(
    ("method", "page", "location"),
    [
        ("GET", "http://x/channels/a/records?value=a%26b", "/login?next=%2Fchannels%2Fa%2Frecords%3Fvalue%3Da%2526b"),
        ("POST", "http://x/alerts", "/login?next=%2Falerts&said=session_over"),
        ("POST", "http://x//evil.example/alerts", "/login?said=session_over"),
        ("POST", "http://[x/alerts", "/login?said=session_over"),
    ],
)
async def test_a_form_without_a_session_says_so_and_the_login_leads_back(
    console: Console, method: str, page: str, location: str
) -> None:
    answer = await console.ask(method, "/alerts", {"HX-Request": "true", "HX-Current-URL": page})
    assert (answer.status, answer.headers["HX-Redirect"]) == (401, location)


async def test_signing_in_begins_a_session_and_signing_out_ends_it(console: Console, tmp_path: Path) -> None:
    answer = await console.sign_in()
    assert answer.status == 303
    assert (await console.get(SERVER, Cookie=answer.cookie)).status == 200
    assert (await console.change(RELOAD, Cookie=answer.cookie)).status == 200
    token = console.server._guard.sessions.form_token(answer.cookie.partition("=")[2])  # type: ignore[union-attr]
    assert (await console.submit("/logout", {"csrf_token": token}, Cookie=answer.cookie)).status == 303
    assert (await console.get(SERVER, Cookie=answer.cookie)).status == 401
    operations = [(entry["operation"], entry["outcome"]) for entry in audited(tmp_path)]
    assert operations == [("sign_in", "done"), ("reload", "done"), ("sign_out", "done")]


async def test_a_session_has_another_cookie_than_the_browser_came_with(console: Console) -> None:
    """Session fixation: who made a browser take a cookie he knows has nothing of it."""
    before, token = await console.form()
    answer = await console.submit("/login", {"password": PASSWORD, "csrf_token": token}, Cookie=before)
    assert answer.cookie != before
    assert (await console.get(SERVER, Cookie=before)).status == 401


async def test_a_cookie_is_kept_from_scripts_and_other_sites(console: Console) -> None:
    answer = await console.sign_in()
    parts = answer.headers["Set-Cookie"].split("; ")
    assert parts[0].startswith(f"binwire-{console.port}=")
    assert parts[1:] == ["Path=/", "HttpOnly", "SameSite=Lax"]


async def test_a_session_ends_by_itself(tmp_path: Path) -> None:
    clock = ManualClock()
    async with served(tmp_path, config(password=PASSWORD), clock=clock) as console:
        cookie = (await console.sign_in()).cookie
        clock.advance(sessions_module.SESSION_MS - 1)
        assert (await console.get(SERVER, Cookie=cookie)).status == 200
        clock.advance(1)
        assert (await console.get(SERVER, Cookie=cookie)).status == 401


async def test_sessions_beyond_so_many_end_the_oldest(console: Console, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions_module, "SESSIONS_MAX", 2)
    cookies = [(await console.sign_in()).cookie for _ in range(3)]
    assert [(await console.get(SERVER, Cookie=cookie)).status for cookie in cookies] == [401, 200, 200]


@pytest.mark.parametrize("change", [{"password": "another password"}, {"password": PASSWORD, "tokens": []}, {}])
async def test_another_password_or_token_ends_all_sessions(console: Console, change: dict[str, object]) -> None:
    cookie = (await console.sign_in()).cookie
    same = {"password": PASSWORD, "tokens": [TOKEN_HASH]}
    assert console.server.take(config(**same)) == []
    assert (await console.get(SERVER, Cookie=cookie)).status == 200
    assert len(console.server.take(config(**({"password_hash": TOKEN_HASH} | change)))) == 1
    assert (await console.get(SERVER, Cookie=cookie)).status == 401


async def test_where_there_are_tokens_only_one_signs_in_with_a_token(tmp_path: Path) -> None:
    async with served(tmp_path, config(tokens=[TOKEN_HASH])) as console:
        assert (await console.sign_in("wrong")).status == 401
        answer = await console.sign_in(TOKEN)
        assert (await console.get(SERVER, Cookie=answer.cookie)).status == 200
    assert [entry["name"] for entry in audited(tmp_path)] == ["a token", "token 1"]


async def test_a_hashed_password_is_the_password(tmp_path: Path) -> None:
    async with served(tmp_path, config(password_hash=TOKEN_HASH)) as console:
        assert (await console.sign_in("wrong")).status == 401
        assert (await console.sign_in(TOKEN)).status == 303


async def test_guessing_is_braked_and_a_browser_that_is_in_stays_in(tmp_path: Path) -> None:
    clock = ManualClock()
    timers = ManualScheduler(clock)
    async with served(tmp_path, config(password=PASSWORD), clock=clock, scheduler=timers) as console:
        cookie = (await console.sign_in()).cookie
        for _ in range(40):
            console.server._keys._brake.failed(GUESSED_AT, "127.0.0.1")
        waiting = [asyncio.ensure_future(console.sign_in("a guess")) for _ in range(4)]
        while console.server._keys._brake._failures["pair", GUESSED_AT, "127.0.0.1"].waiting < 4:  # noqa: ASYNC110
            await asyncio.sleep(0)
        answer = await console.sign_in("one more")
        assert (answer.status, b"try again" in answer.body) == (429, True)
        assert (await console.get(SERVER, Cookie=cookie)).status == 200
        timers.advance(1_000)
        assert [each.status for each in await asyncio.gather(*waiting)] == [401] * 4


async def test_a_guesser_fills_neither_the_audit_log_nor_memory(console: Console, tmp_path: Path) -> None:
    for number in range(5):
        await console.get(SERVER, Authorization=f"Bearer guess-{number}")
    [entry] = audited(tmp_path)
    assert (entry["operation"], entry["outcome"], entry["refusal"]) == ("sign_in", "refused", "unauthenticated")
    assert "guess" not in json.dumps(entry)


# --- what every answer has, and what no request may do ---


@pytest.mark.parametrize("target", ["/login", SERVER, "/nothing", "/static/nothing", "/api/v1/nothing"])
async def test_every_answer_tells_a_browser_what_to_keep_to(open_console: Console, target: str) -> None:
    answer = await open_console.get(target)
    assert {name: answer.headers[name] for name in SECURITY_HEADERS} == SECURITY_HEADERS
    assert answer.headers["Cache-Control"] == "no-store"
    assert "Server" not in answer.headers
    policy = answer.headers["Content-Security-Policy"]
    assert "default-src 'self'" in policy
    assert "unsafe" not in policy


@pytest.mark.parametrize(
    "target",
    [
        "/static/../access.py",
        "/static/..%2faccess.py",
        "/static/%2e%2e/%2e%2e/config.py",
        "/static/..%5caccess.py",
        "/static//etc/passwd",
        "/static/%2fetc%2fpasswd",
        "/static/console.css%00.js",
        "/static/",
        "/static/.",
    ],
)
async def test_a_static_name_leads_nowhere_else(open_console: Console, target: str) -> None:
    assert (await open_console.get(target)).status == 404


async def test_what_is_asked_for_by_its_version_is_kept_for_good(open_console: Console) -> None:
    first = await open_console.get("/static/console.css")
    version = first.headers["ETag"].strip('"')
    assert first.headers["Cache-Control"] == "no-cache"
    kept = await open_console.get(f"/static/console.css?v={version}")
    assert "immutable" in kept.headers["Cache-Control"]
    assert "immutable" not in (await open_console.get("/static/console.css?v=0")).headers["Cache-Control"]
    assert (await open_console.get("/static/console.css", If_None_Match=f'"{version}"')).status == 304


async def test_a_body_is_bounded_however_it_comes(open_console: Console) -> None:
    large = b'{"a": "' + b"x" * BODY_BYTES_MAX + b'"}'
    answer = await open_console.ask("POST", RELOAD, {"Content-Type": "application/json"}, large)
    assert (answer.status, answer.json()["refusal"]) == (413, "too_large")
    chunked = {"Content-Type": "application/json", "Transfer-Encoding": "chunked"}
    frame = b"%x\r\n%s\r\n0\r\n\r\n" % (len(large), large)
    assert (await open_console.ask("POST", RELOAD, chunked, frame)).status == 413
    assert (await open_console.ask("POST", "/login", {"Content-Type": FORM}, large)).status == 413


async def test_a_strangers_body_is_small(console: Console) -> None:
    cookie, token = await console.form()
    fields = {"csrf_token": token, "password": "x" * STRANGERS_BODY_BYTES_MAX}
    assert (await console.submit("/login", fields, Cookie=cookie)).status == 413
    assert (await console.submit("/login", fields | {"password": "x" * 9000}, Cookie=cookie)).status == 401


@pytest.mark.parametrize(
    "cookie",
    ['a="' + "\\\\" * 6000, "; ".join(f"other{number}=x" for number in range(1000)), "binwire_theme=<x>", "=", ";;; ,"],
)
async def test_cookies_of_others_are_passed_over(console: Console, cookie: str) -> None:
    ours = (await console.sign_in()).cookie
    assert (await console.get(SERVER, Cookie=f"{cookie}; {ours}")).status == 200
    assert (await console.get("/alerts", Cookie=cookie, Accept="text/html")).status == 303


async def test_a_target_puts_nothing_into_the_headers_of_an_answer(console: Console) -> None:
    answer = await console.get("/channels%0d%0aSet-Cookie:%20x=1?y=%0d%0aX:1", Accept="text/html")
    assert answer.status == 303
    assert answer.headers["Set-Cookie"] is None
    assert "\n" not in answer.headers["Location"]


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("/channels?page=2", "/channels?page=2"),
        ("/", "/"),
        ("", "/"),
        ("channels", "/"),
        ("//evil.example/x", "/"),
        ("/\\evil.example", "/"),
        ("\\\\evil.example", "/"),
        ("https://evil.example", "/"),
        ("javascript:alert(1)", "/"),
        ("/x\r\nSet-Cookie: a=b", "/"),
        ("/\tevil", "/"),
        ("/ä", "/"),
        ("http://[", "/"),
        ("//[", "/"),
    ],
)
def test_after_signing_in_one_stays_here(text: str, target: str) -> None:
    assert local_target(text) == target


@pytest.mark.parametrize(
    ("text", "name"),
    [("a:1", "a"), ("[::1]:2", "::1"), ("A.B.", "a.b"), ("a:b", None), ("", None), ("a/b", None), ("x@y", None)],
)
def test_the_name_in_a_host_header(text: str, name: str | None) -> None:
    assert host_name(text) == name


async def test_what_fails_of_ours_is_one_sentence_without_its_traceback(
    open_console: Console, caplog: pytest.LogCaptureFixture
) -> None:
    async def fails() -> str:
        raise RuntimeError("a defect")

    open_console.plane.reload = fails
    answer = await open_console.change(RELOAD)
    assert answer.status == 500
    assert answer.json()["error"] == "Binwire failed at this; its log says why"
    assert b"defect" not in answer.body
    assert [record.exc_info is not None for record in caplog.records if record.name == "binwire.console"] == [True]


def test_what_is_open_without_login_is_this(monkeypatch: pytest.MonkeyPatch) -> None:
    opened = [path for path in ("/login", "/logout", "/healthz", "/readyz", "/static/x") if access_module.is_open(path)]
    assert len(opened) == 5
    closed = ("/", "/channels", "/metrics", "/api/v1/server", "/api/login", "/login/x", "/static", "/staticx")
    assert not any(access_module.is_open(path) for path in closed)
