"""A real Chromium without a window as tests of pages see it: pages that are watched, checked and photographed.

A :class:`Browser` is one process; each :class:`Visitor` is a person in it with cookies of his own, who sees one origin
and no other (every name but the server's is unknown to the browser, and asking for one is held against the page). What
a page does wrong behind the scenes is held against it too: errors in its console, among them every violation of its
Content-Security-Policy, exceptions of its scripts, requests that fail, dialogs. `Visitor.check` says so.

The sync API of Playwright has an event loop of its own in the thread, so tests of a module that uses this are plain
functions, and a browser lives no longer than its module.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import urllib.parse
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import pytest

from tests.tools.chromium import chromium
from tests.tools.workplace import ToolError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser as PlaywrightBrowser
    from playwright.sync_api import BrowserContext, ConsoleMessage, Locator, Page, Playwright, Request, Response


Scheme: TypeAlias = Literal["light", "dark"]

# Bounds for a machine under load; nothing waits this long unless it has failed.
PATIENCE_MS = 30_000
DESK = {"width": 1280, "height": 900}
PHONE = {"width": 360, "height": 740}
TABS_MAX = 200
# What axe-core finds by the rules of WCAG 2.2 up to AA, and its own best practices.
_AXE_OPTIONS: dict[Scheme, dict[str, Any]] = {
    "light": {"resultTypes": ["violations"]},
    "dark": {"resultTypes": ["violations"], "runOnly": ["color-contrast"]},  # nothing else changes with the scheme
}
_ARGUMENTS = (
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost",
    "--disable-gpu",
    "--force-prefers-reduced-motion",
    "--lang=en",
)


class Browser:
    """One Chromium; :func:`open_browser` starts it."""

    def __init__(self, playwright: Playwright, screenshots: Path) -> None:
        found = chromium()
        self.screenshots = screenshots
        self._visitors: list[Visitor] = []
        self._browser: PlaywrightBrowser = playwright.chromium.launch(
            executable_path=found.program,
            env={**os.environ, **found.environment},
            chromium_sandbox=found.is_sandboxed,
            args=list(_ARGUMENTS),
        )

    def visit(
        self,
        origin: str,
        *,
        phone: bool = False,
        scheme: Scheme = "light",
        language: str = "en-US",
        zone: str = "UTC",
        scripts: bool = True,
    ) -> Visitor:
        """A new person with an empty page, at a desk or with a phone, who may have scripts turned off."""
        context = self._browser.new_context(
            base_url=origin,
            viewport=PHONE if phone else DESK,  # type: ignore[arg-type]
            is_mobile=phone,
            has_touch=phone,
            color_scheme=scheme,
            locale=language,
            timezone_id=zone,
            java_script_enabled=scripts,
            reduced_motion="reduce",
        )
        context.set_default_timeout(PATIENCE_MS)
        self._visitors.append(Visitor(context, origin, scheme, self.screenshots))
        return self._visitors[-1]

    def dismiss(self) -> None:
        """Have all visitors go, as after a test."""
        while self._visitors:
            self._visitors.pop().close()

    def close(self) -> None:
        self.dismiss()
        self._browser.close()


class Visitor:
    """A person who looks at one origin; `page` is Playwright's own."""

    def __init__(self, context: BrowserContext, origin: str, scheme: Scheme, screenshots: Path) -> None:
        self.origin = origin
        self._scheme = scheme
        self.complaints: list[str] = []
        self._context = context
        self._screenshots = screenshots
        self._expected: set[int] = set()
        self.page: Page = context.new_page()
        self.page.on("console", self._heard)
        self.page.on("pageerror", lambda error: self.complaints.append(f"a script failed: {error}"))
        self.page.on("request", self._asked)
        self.page.on("response", self._answered)
        self.page.on("dialog", self._interrupted)

    def open(self, path: str) -> Page:
        """Go to a page of the origin by its path."""
        self.page.goto(path)
        return self.page

    @contextlib.contextmanager
    def expecting(self, *statuses: int) -> Iterator[None]:
        """Answers with these statuses are what the test wants, not something that is wrong with the page."""
        self._expected.update(statuses)
        try:
            yield
        finally:
            self._expected.clear()

    def check(self) -> None:
        """Fail if anything was wrong behind the scenes since the last check."""
        complaints, self.complaints = self.complaints, []
        assert not complaints, f"{self.page.url}: " + "; ".join(complaints)

    def check_accessibility(self) -> None:
        """Fail if axe-core finds anything to complain of on the page as it stands, in light and in dark."""
        from axe_playwright_python.sync_playwright import Axe  # type: ignore[import-untyped]

        found: list[str] = []
        for scheme, options in _AXE_OPTIONS.items():
            self.page.emulate_media(color_scheme=scheme)
            results = Axe().run(self.page, options=options).response["violations"]
            found += [f"{scheme}: {_told(violation)}" for violation in results]
        self.page.emulate_media(color_scheme=self._scheme)
        assert not found, f"{self.page.url}:\n" + "\n".join(found)

    def check_width(self) -> None:
        """Fail if the page is wider than the window: nobody scrolls sideways to read."""
        wider: list[str] = self.page.evaluate(
            """() => {
                const room = document.documentElement.clientWidth;
                if (document.documentElement.scrollWidth <= room) return [];
                return [...document.querySelectorAll("body *")]
                    .filter(e => e.getBoundingClientRect().right > room + 1)
                    .map(e => e.tagName + (e.id ? "#" + e.id : "") + (e.className ? "." + e.className : ""))
                    .concat("page");
            }"""
        )
        assert not wider, f"{self.page.url} is wider than its window: {', '.join(wider[:12])}"

    def tab_to(self, target: Locator, tabs_max: int = TABS_MAX) -> None:
        """Reach an element by the Tab key alone; fail if that leads past it, or if it is not seen to have the focus."""
        for _ in range(tabs_max):
            self.page.keyboard.press("Tab")
            if target.evaluate("element => element === document.activeElement"):
                break
        else:
            raise AssertionError(f"{self.page.url}: {target} is not reached with the Tab key")
        seen = target.evaluate(
            """element => {
                const style = getComputedStyle(element);
                return (style.outlineStyle !== "none" && style.outlineWidth !== "0px") || style.boxShadow !== "none";
            }"""
        )
        assert seen, f"{self.page.url}: nothing shows that {target} has the focus"

    def photograph(self, name: str, *, whole: bool = True) -> Path:
        """Keep what the page looks like in the folder of screenshots."""
        path = self._screenshots / f"{name}.png"
        self.page.screenshot(path=path, full_page=whole)
        return path

    def close(self) -> None:
        self._context.close()

    def _heard(self, message: ConsoleMessage) -> None:
        if message.type not in ("error", "warning"):
            return
        if any(f"status of {status} " in message.text for status in self._expected):
            return
        self.complaints.append(f"{message.type} in the console: {message.text}")

    def _asked(self, request: Request) -> None:
        parts = urllib.parse.urlsplit(request.url)
        if parts.scheme in ("data", "blob", "about"):
            return
        if f"{parts.scheme}://{parts.netloc}" != self.origin:
            self.complaints.append(f"a request to elsewhere: {request.url}")

    def _answered(self, response: Response) -> None:
        if response.status >= 400 and response.status not in self._expected:
            self.complaints.append(f"{response.status} for {response.request.method} {response.url}")

    def _interrupted(self, dialog: Any) -> None:
        self.complaints.append(f"a dialog: {dialog.message}")
        dialog.dismiss()


def _told(violation: dict[str, Any]) -> str:
    nodes = violation["nodes"][:4]
    places = "; ".join(f"{' '.join(map(str, node['target']))} ({node['html'][:160]})" for node in nodes)
    return f"{violation['id']} ({violation['impact']}): {violation['help']}: {places}"


@contextlib.contextmanager
def open_browser(screenshots: Path) -> Iterator[Browser]:
    """A Chromium for the block; where none can be had the test is skipped with the reason, and fails in CI."""
    from playwright.sync_api import expect, sync_playwright

    expect.set_options(timeout=PATIENCE_MS)
    try:
        chromium()
    except (ToolError, OSError, subprocess.SubprocessError) as error:
        reason = f"Chromium cannot be had: {error}"
        if os.environ.get("CI") == "true":
            pytest.fail(reason, pytrace=False)
        pytest.skip(reason)
    screenshots.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        browser = Browser(playwright, screenshots)
        try:
            yield browser
        finally:
            browser.close()
