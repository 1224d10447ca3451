"""The frame: nothing from elsewhere, nothing inline, and the viewer's language, appearance and time zone."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from broker.config import ConsoleConfig
from broker.console.application import make_application, make_guard
from broker.console.keys import Keys
from broker.console.pages import base
from broker.console.rendering import FOLDER, environment
from tests.broker.console.asked import ask
from tests.fakes import ManualClock, ManualScheduler

_MARKUP = sorted((FOLDER / "templates").rglob("*.html"))
_OWN_STATIC = [file for file in sorted((FOLDER / "static").rglob("*")) if file.suffix in (".css", ".js", ".svg")]


@pytest.fixture
def app():
    clock = ManualClock()
    plane: Any = SimpleNamespace(clock=clock, audit_log=None)
    return make_guard(make_application(), plane, Keys(ConsoleConfig(), clock, ManualScheduler(clock)))


@pytest.mark.parametrize("file", [*_MARKUP, *_OWN_STATIC], ids=lambda path: path.name)
def test_nothing_is_loaded_from_elsewhere(file: Path):
    text = file.read_text("utf-8").replace("http://www.w3.org/", "")
    assert re.findall(r"""(?:src|href|action|hx-\w+)\s*=\s*["']\s*(?:https?:)?//""", text) == []
    assert re.findall(r"""(?:url\(|@import|import\()\s*["']?\s*(?:https?:)?//""", text) == []
    if file.name != "htmx.min.js":
        assert "://" not in text


@pytest.mark.parametrize("file", _MARKUP, ids=lambda path: path.name)
def test_nothing_is_inline_and_nothing_unescaped(file: Path):
    text = file.read_text("utf-8")
    assert re.findall(r"\sstyle\s*=", text) == []
    assert re.findall(r"<style|<script(?![^>]*\ssrc=)", text) == []
    assert re.findall(r"\son[a-z]+\s*=", text) == []
    assert re.findall(r"hx-on|hx-vals\s*=\s*[\"']js:|hx-vars|javascript:", text) == []
    assert re.findall(r"\|\s*safe\b|autoescape\s+false", text) == []


@pytest.mark.parametrize("file", _MARKUP, ids=lambda path: path.name)
def test_a_form_that_changes_something_carries_its_token(file: Path):
    for form in re.findall(r"<form[^>]*method=\"post\".*?</form>", file.read_text("utf-8"), re.DOTALL):
        assert 'name="csrf_token"' in form


async def test_the_language_is_the_browsers_until_one_is_chosen(app):
    page = await ask(app, "/nothing", headers={"accept-language": "zh-CN"})
    assert 'lang="zh-CN"' in page.text
    assert "跳到正文" in page.text
    page = await ask(app, "/nothing", headers={"accept-language": "zh-CN", "cookie": "binwire_language=en"})
    assert 'lang="en"' in page.text


async def test_a_choice_is_kept_in_a_cookie_and_leads_back(app):
    answer = await ask(app, "/preferences?language=zh&theme=dark&next=/channels%3Fpage%3D2")
    assert (answer.status, answer.header("location")) == (303, "/channels?page=2")
    cookies = [value.split(";")[0] for name, value in answer.headers if name == "set-cookie"]
    assert {"binwire_language=zh", "binwire_theme=dark"} <= set(cookies)
    page = await ask(app, "/nothing", headers={"cookie": "binwire_theme=dark"})
    assert 'data-theme="dark"' in page.text


@pytest.mark.parametrize(
    ("theme", "asked_for"),
    [
        ("auto", r'dark\.css[^>]* media="\(prefers-color-scheme: dark\)">'),
        ("dark", r"dark\.css[^ >]*>"),
        ("light", None),
    ],
)
async def test_the_colours_of_the_dark_are_asked_for_where_they_are_wanted(app, theme, asked_for):
    page = (await ask(app, "/nothing", headers={"cookie": f"binwire_theme={theme}"})).text
    found = re.search(r"dark\.css[^>]*>", page)
    assert (found is None) if asked_for is None else (found is not None and re.fullmatch(asked_for, found[0]))


@pytest.mark.parametrize("address", ["//elsewhere", "/%5Celsewhere", "https://elsewhere", "/%0d%0aset-cookie:x", ""])
async def test_a_choice_leads_nowhere_else(app, address):
    answer = await ask(app, f"/preferences?language=xx&next={address}")
    assert (answer.status, answer.header("location")) == (303, "/")
    assert not any(name == "set-cookie" and "binwire_language" in value for name, value in answer.headers)


@pytest.mark.parametrize(
    ("cookie", "shown"),
    [
        ("", "2026-11-21 20:00:00"),
        ("binwire_zone=Asia%2FShanghai", "2026-11-22 04:00:00"),
        ("binwire_zone=..%2F..%2Fetc%2Fpasswd", "2026-11-21 20:00:00"),
        ("binwire_zone=No%2FSuch", "2026-11-21 20:00:00"),
    ],
)
async def test_a_time_is_shown_in_the_viewers_zone_with_utc_beside(app, cookie, shown):
    from starlette.requests import Request

    request = Request({"type": "http", "headers": [(b"cookie", cookie.encode())]})
    text = environment.from_string("{{ time(1795291200000) }}").render(request=request)
    assert f">{shown}</time>" in text
    assert 'title="2026-11-21 20:00:00 UTC"' in text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("<script>alert(1)</script>", "<bdi>&lt;script&gt;alert(1)&lt;/script&gt;</bdi>"),
        ("a'\"&{{7*7}}", "<bdi>a&#39;&#34;&amp;{{7*7}}</bdi>"),
        ("价格 👩‍👧", "<bdi>价格 👩‍👧</bdi>"),
        ("a\x00b", '<bdi>a<span class="tag" title="U+0000">␀</span>b</bdi>'),
        ("a\u202eb", '<bdi>a<span class="tag" title="U+202E">U+202E</span>b</bdi>'),
        ("x" * 301, f"<bdi>{'x' * 300}…</bdi>"),
    ],
)
def test_a_text_from_outside_shows_what_it_is(text, shown):
    assert base.visible(text) == shown


@pytest.mark.parametrize(
    ("seconds", "shown"), [(None, "-"), (0, "0 s"), (59, "59 s"), (3_600, "1 h"), (90_061, "1 d 1 h"), (-5, "0 s")]
)
def test_a_duration_has_its_two_largest_units(seconds, shown):
    assert base.duration(seconds) == shown


@pytest.mark.parametrize(
    ("amount", "shown"), [(None, "-"), (0, "0 B"), (1023, "1,023 B"), (1536, "1.5 KiB"), (5 << 40, "5.0 TiB")]
)
def test_a_size_has_the_unit_that_suits_it(amount, shown):
    assert base.size(amount) == shown
