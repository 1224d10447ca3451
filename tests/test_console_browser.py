"""The watched browser sees what it is there to see: each thing that a page may do wrong, and a page that does none."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.console_browser import Browser, Visitor, open_browser
from tests.tools import chromium, debian
from tests.tools.workplace import ToolError

_HEAD = "<!doctype html><html lang=en><head><title>A page</title>"
_HEAD += "<meta name=viewport content='width=device-width'><link rel=icon href=data:,>"
PAGES = {
    "/": f"{_HEAD}</head><body><main><h1>Good</h1><a href=/>Here</a></main></body></html>",
    "/inline": f"{_HEAD}</head><body><main><h1>x</h1><script>1</script></main></body></html>",
    "/elsewhere": f"{_HEAD}</head><body><main><h1>x</h1><img alt=x src=https://example.com/x.png></main></body></html>",
    "/pale": f"{_HEAD}<link rel=stylesheet href=/pale.css></head>"
    "<body><main><h1>x</h1><p>Pale in the dark</p><input></main></body></html>",
    "/wide": f"{_HEAD}<link rel=stylesheet href=/pale.css></head>"
    "<body><main><h1>x</h1><div class=wide>x</div></main></body></html>",
}
STYLE = "@media (prefers-color-scheme: dark) { p { color: #777; background: #666 } } .wide { width: 2000px }"


class _Pages(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = STYLE if self.path == "/pale.css" else PAGES.get(self.path)
        self.send_response(404 if body is None else 200)
        self.send_header("Content-Type", "text/css" if self.path.endswith(".css") else "text/html")
        self.send_header("Content-Security-Policy", "default-src 'self' data: https:")
        self.end_headers()
        self.wfile.write((body or "There is no such page.").encode())

    def log_message(self, *args: object) -> None:
        """Nothing is told of good requests."""


@pytest.fixture(scope="module")
def origin() -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Pages) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with open_browser(tmp_path_factory.mktemp("screenshots")) as opened:
        yield opened


@pytest.fixture
def visitor(browser: Browser, origin: str) -> Iterator[Visitor]:
    yield browser.visit(origin)
    browser.dismiss()


def test_nothing_is_said_of_a_good_page(visitor: Visitor) -> None:
    page = visitor.open("/")
    visitor.tab_to(page.get_by_role("link", name="Here"))
    visitor.check_accessibility()
    visitor.check_width()
    visitor.check()
    assert visitor.photograph("good").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("path", "complaint"),
    [
        ("/inline", "Content Security Policy"),
        ("/elsewhere", "a request to elsewhere: https://example.com/x.png"),
        ("/missing", "404 for GET"),
    ],
)
def test_what_a_page_does_wrong_behind_the_scenes_is_held_against_it(
    visitor: Visitor, path: str, complaint: str
) -> None:
    visitor.open(path)
    with pytest.raises(AssertionError, match=complaint):
        visitor.check()


def test_an_answer_that_is_expected_is_not(visitor: Visitor) -> None:
    with visitor.expecting(404):
        visitor.open("/missing")
    visitor.check()


def test_a_page_that_not_everybody_can_use_is_told(visitor: Visitor) -> None:
    page = visitor.open("/pale")
    with pytest.raises(AssertionError, match=r"(?s)light: label .*dark: color-contrast"):
        visitor.check_accessibility()
    with pytest.raises(AssertionError, match="not reached"):
        visitor.tab_to(page.locator("p"), tabs_max=5)


def test_a_page_that_is_wider_than_a_phone_is_told(browser: Browser, origin: str) -> None:
    visitor = browser.visit(origin, phone=True)
    visitor.open("/wide")
    with pytest.raises(AssertionError, match=r"DIV\.wide"):
        visitor.check_width()
    browser.dismiss()


def test_without_a_browser_tests_are_skipped_with_the_reason_and_fail_in_ci(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def none() -> chromium.Chromium:
        raise ToolError("no archive is in reach")

    monkeypatch.setattr("tests.console_browser.chromium", none)
    for ci, outcome in (("", pytest.skip.Exception), ("true", pytest.fail.Exception)):
        monkeypatch.setenv("CI", ci)
        with pytest.raises(outcome, match="Chromium cannot be had: no archive is in reach"), open_browser(tmp_path):
            pass


def test_the_private_chromium_takes_the_c_library_of_the_machine_and_all_else_from_its_set(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    root = tmp_path / "chromium"
    libraries = root / "usr" / "lib" / "x86_64-linux-gnu"
    for name in ("libc.so.6", "libm.so.6", "ld-linux-x86-64.so.2", "libnss_files.so.2", "gconv/UTF-16.so"):
        (libraries / name).parent.mkdir(parents=True, exist_ok=True)
        (libraries / name).touch()
    for name in ("libnss3.so", "libmount.so.1", "libcups.so.2", "nss/libsoftokn3.so"):
        (libraries / name).parent.mkdir(parents=True, exist_ok=True)
        (libraries / name).touch()
    (root / ".stamp").write_text("1", encoding="utf-8")
    monkeypatch.setattr(chromium, "CLIENTS_DIRECTORY", tmp_path)
    monkeypatch.setattr(debian, "unpack", lambda wanted, target: root)
    found = chromium._private()
    links = Path(found.environment["LD_LIBRARY_PATH"].split(":")[0])
    assert sorted(link.name for link in links.iterdir()) == [
        *("libcups.so.2", "libmount.so.1", "libnss3.so", "libsoftokn3.so"),
    ]
    assert str(root / "usr/share/fonts") in Path(found.environment["FONTCONFIG_FILE"]).read_text(encoding="utf-8")
