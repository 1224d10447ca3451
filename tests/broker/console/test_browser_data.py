"""The console's pages that show data and watch, in a real browser, on a real server and a real MySQL.

One channel is tracked for all tests of the module, with what is hard to show: bytes that are no text, emoji, and names
and values that would be markup, scripts or turned around where a page is careless. No test changes it.
"""

from __future__ import annotations

import contextlib
import hashlib
import http.server
import json
import re
import threading
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fastavro
import pymysql
import pytest
from playwright.sync_api import Locator, Page, expect

from tests.console_browser import Browser, Visitor, open_browser
from tests.live_server import LiveServer
from tests.server_process import ServerProcess

CONFIGURATION = '[[listeners]]\nname = "public"\nbind = "127.0.0.1:0"\n[console]\nbind = "127.0.0.1:0"\n'
PASSWORD = "Only4tests"
ROWS = 45
BIG_BYTES = 64_000_000
HOSTILE_NAME = "<img src=x onerror=alert(1)> \u202egnp"
HOSTILE_TEXT = "</td><script>alert(document.cookie)</script>\u202e\u2066txt.exe\nsecond line\t\u200b\x07 ' \" &lt;"
EMOJI = "👩‍👩‍👧 中文 ❤️"

pytestmark = pytest.mark.server("mysql97")


class Console:
    """A server, by its REST interface."""

    def __init__(self, process: ServerProcess) -> None:
        self.origin = f"http://{process.bootstrap('console')}"
        self._process = process
        process.wait_for(self._answers, "serving the console")

    def ask(self, method: str, path: str, document: Any = None) -> Any:
        request = urllib.request.Request(
            f"{self.origin}/api/v1{path}",
            method=method,
            data=None if document is None else json.dumps(document).encode(),
            headers={"Content-Type": "application/json"},
        )
        try:
            with urllib.request.urlopen(request) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{method} {path}: {error.read().decode()}") from None

    def track(self, server: LiveServer, database: str, name: str, segment_size: str) -> str:
        """Have a running channel; the result is its path."""
        asked = {"source": {"url": server.url()}, "objects": [f"{database}.*"], "name": name}
        path = f"/channels/{self.ask('POST', '/channels', asked | {'segment_size': segment_size})['id']}"
        self._process.wait_for(lambda: "start_channel" in self.ask("GET", path)["operations"], "prechecked")
        self.ask("POST", f"{path}/start", {})
        self._process.wait_for(lambda: self.ask("GET", path)["state"] == "Normal", "tracking")
        return path

    def offset(self, path: str, table: str, kind: str = "INSERT") -> int:
        """Of the newest record of this kind in a table, once there is one."""
        self._process.wait_for(lambda: bool(self._found(path, table, kind)), "done with the changes")
        return int(self._found(path, table, kind)[0]["offset"])

    def _found(self, path: str, table: str, kind: str) -> list[Any]:
        asked = {"table": table, "kinds": [kind], "limit": 1}
        while not (found := self.ask("POST", f"{path}/records/search", asked))["is_complete"]:
            asked["cursor"] = found["cursor"]
        return list(found["records"])

    def _answers(self) -> bool:
        try:
            return bool(self.ask("GET", "/server"))
        except OSError:
            return False


class Tracked:
    """A running channel with a consumer group, and changes of everything that is hard to show."""

    def __init__(self, console: Console, server: LiveServer) -> None:
        self.console, self.origin = console, console.origin
        self.database = server.fresh_database()
        columns = f"`{HOSTILE_NAME}` VARCHAR(200) PRIMARY KEY, `a\nb` TEXT, raw VARBINARY(20)"
        server.execute_all(
            "CREATE TABLE orders (id INT PRIMARY KEY, item VARCHAR(80), price DECIMAL(10, 2), at DATETIME)",
            f"CREATE TABLE `{HOSTILE_NAME}` ({columns})",
            "CREATE TABLE last (id INT PRIMARY KEY)",
            database=self.database,
        )
        self.path = console.track(server, self.database, "<b>orders</b>", "1MiB")
        group = {"name": "readers", "username": "reader", "password": PASSWORD, "password_again": PASSWORD}
        self.group = console.ask("POST", f"{self.path}/groups", group)
        self._change(server)
        console.offset(self.path, "last")

    def offset(self, table: str, kind: str = "INSERT") -> int:
        return self.console.offset(self.path, table, kind)

    def _change(self, server: LiveServer) -> None:
        rows = [f"({number}, 'item {number}', {number}.50, '2024-02-29 12:00:00')" for number in range(1, ROWS + 1)]
        server.execute(f"INSERT INTO orders VALUES {', '.join(rows)}", database=self.database)
        server.execute("UPDATE orders SET item = %s, price = NULL WHERE id = 7", (EMOJI,), database=self.database)
        server.execute("DELETE FROM orders WHERE id = 8", database=self.database)
        hostile = (HOSTILE_NAME, HOSTILE_TEXT, b"\xff\x00\xfe<b>")
        server.execute(f"INSERT INTO `{HOSTILE_NAME}` VALUES (%s, %s, %s)", hostile, database=self.database)
        server.execute("ALTER TABLE orders ADD COLUMN note VARCHAR(10) DEFAULT '<i>'", database=self.database)
        server.execute("INSERT INTO last VALUES (1)", database=self.database)


@pytest.fixture(scope="module")
def console(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Console]:
    with ServerProcess(tmp_path_factory.mktemp("server"), CONFIGURATION).start() as process:
        yield Console(process)


@pytest.fixture(scope="module")
def tracked(console: Console, mysql97: LiveServer) -> Tracked:
    return Tracked(console, mysql97)


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with open_browser(tmp_path_factory.mktemp("screenshots")) as browser:
        yield browser


@pytest.fixture
def visitor(browser: Browser, tracked: Tracked) -> Iterator[Visitor]:
    visitor = browser.visit(tracked.origin)
    yield visitor
    visitor.check()
    browser.dismiss()


def _rows(page: Page) -> Locator:
    return page.locator("tbody tr:not(.more)")


def _cells(row: Locator) -> dict[str, str]:
    """The texts of a row by the labels that a phone shows."""
    return {
        str(cell.get_attribute("data-label")): cell.inner_text().strip() for cell in row.locator("td[data-label]").all()
    }


# --- search -----------------------------------------------------------------------------------------------------------


def test_the_last_minute_is_shown_newest_first_and_more_on_demand(visitor: Visitor, tracked: Tracked):
    page = visitor.open(f"{tracked.path}/records?from_ms=0")
    expect(page.get_by_text("Data range", exact=True)).to_be_visible()
    expect(_rows(page)).to_have_count(20)
    first = _cells(_rows(page).first)
    assert first["Table"] == "last"
    assert first["Primary key"] == "id:1"
    assert first["Change type"] == "INSERT"
    assert re.fullmatch(r"\d+@\d+", first["Checkpoint"])
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", first["Timestamp"])
    page.get_by_role("link", name="Older records").click()
    expect(_rows(page)).to_have_count(40)
    page.get_by_role("link", name="Older records").click()
    expect(page.get_by_role("link", name="Older records")).to_have_count(0)
    assert _rows(page).count() == ROWS + 5
    visitor.check_accessibility()


def test_what_is_new_comes_by_itself_until_it_is_held_still(visitor: Visitor, tracked: Tracked):
    page = visitor.open(f"{tracked.path}/records")
    expect(page.get_by_text("Live: the last minute")).to_be_visible()
    with page.expect_response(lambda response: "part=list" in response.url):
        pass
    page.get_by_role("link", name="Hold still").click()
    expect(page.get_by_role("link", name="Renew by itself")).to_be_visible()
    expect(page.locator("[hx-trigger^=every]")).to_have_count(0)


def test_records_are_found_by_place_kind_and_any_number_of_conditions(visitor: Visitor, tracked: Tracked):
    page = visitor.open(f"{tracked.path}/records")
    page.get_by_label("Database").fill(tracked.database)
    page.get_by_label("Table", exact=True).fill("orders")
    for kind in ("DELETE", "DDL", "UPDATE"):
        page.get_by_label(kind, exact=True).uncheck()
    conditions = page.get_by_role("group", name=re.compile("^Condition"))
    for column, operator, value in (("id", ">=", "41"), ("item", "starts with", "item 4"), ("price", "!=", "45.50")):
        if column != "id":
            page.get_by_role("button", name="Add a condition").click()
        row = conditions.last
        row.get_by_label("Column").fill(column)
        row.get_by_label("Operator").select_option(operator)
        row.get_by_label("Value").fill(value)
    page.get_by_role("button", name="Search", exact=True).click()
    expect(_rows(page)).to_have_count(4)
    assert [_cells(row)["Primary key"] for row in _rows(page).all()] == ["id:44", "id:43", "id:42", "id:41"]
    query = urllib.parse.parse_qs(urllib.parse.urlsplit(page.url).query)
    assert query == {
        "database": [tracked.database],
        "table": ["orders"],
        "kind": ["INSERT"],
        "column": ["id", "item", "price"],
        "operator": [">=", "starts with", "!="],
        "value": ["41", "item 4", "45.50"],
    }
    expect(conditions).to_have_count(3)
    conditions.nth(1).get_by_role("button").click()
    page.get_by_role("button", name="Search", exact=True).click()
    expect(page).to_have_url(re.compile(r"value=41&column=price"))


def test_a_search_is_its_address_for_whoever_opens_it_where_ever(browser: Browser, visitor: Visitor, tracked: Tracked):
    page = visitor.open(f"{tracked.path}/records")
    page.get_by_role("combobox", name="Time").select_option("between")
    begun = page.get_by_label("From", exact=True).input_value()
    page.get_by_label("To", exact=True).fill(begun)
    page.get_by_role("button", name="Search", exact=True).click()
    expect(page).to_have_url(re.compile(r"from_ms=\d+000&to_ms=\d+999\b"))
    found = [_cells(row) for row in _rows(page).all()]
    other = browser.visit(tracked.origin, zone="Asia/Shanghai")
    shared = other.open(page.url)
    expect(shared.get_by_text("Times in Asia/Shanghai")).to_be_visible()
    assert shared.get_by_label("From", exact=True).input_value() != begun
    assert [_cells(row)["Checkpoint"] for row in _rows(shared).all()] == [row["Checkpoint"] for row in found]
    other.check()


def test_what_cannot_be_asked_is_said_above_what_was_put_in(visitor: Visitor, tracked: Tracked):
    with visitor.expecting(400):
        page = visitor.open(f"{tracked.path}/records?span=between&from=yesterday&table=orders")
        expect(page.get_by_role("alert")).to_contain_text("yesterday is not a date and a time.")
        expect(page.get_by_label("Table", exact=True)).to_have_value("orders")
        visitor.open(f"{tracked.path}/records?table=orders&cursor=1.0..9")
        expect(page.get_by_role("alert")).to_contain_text("the cursor belongs to another search")


def test_a_search_is_made_by_keyboard_alone(visitor: Visitor, tracked: Tracked):
    page = visitor.open(f"{tracked.path}/records")
    visitor.tab_to(page.get_by_label("Table", exact=True))
    page.keyboard.type("orders")
    visitor.tab_to(page.get_by_label("INSERT", exact=True))
    page.keyboard.press("Space")
    visitor.tab_to(page.get_by_role("button", name="Search", exact=True))
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile("kind=UPDATE&kind=DELETE&kind=DDL"))
    expect(_rows(page)).to_have_count(2)
    details = _rows(page).first.get_by_role("link", name=re.compile("^Details of record"))
    visitor.tab_to(details)
    page.keyboard.press("Enter")
    expect(page.get_by_role("dialog")).to_be_visible()
    page.keyboard.press("Escape")
    expect(details).to_be_focused()


# --- one record -------------------------------------------------------------------------------------------------------


def _field(page: Page, name: str) -> Locator:
    return page.locator("tr").filter(has=page.locator("th", has_text=re.compile(rf"^{name}\b")))


def test_an_update_is_shown_with_what_changed_marked_by_more_than_colour(visitor: Visitor, tracked: Tracked):
    page = visitor.open(f"{tracked.path}/records/{tracked.offset('orders', 'UPDATE')}")
    assert _cells(_field(page, "id")) == {"Type": "INT32", "Character set": "", "Before": "7", "After": "7"}
    item = _cells(_field(page, "item"))
    assert item == {"Type": "STRING", "Character set": "utf8mb4", "Before": "item 7", "After": EMOJI}
    assert _cells(_field(page, "price")) == {"Type": "DECIMAL", "Character set": "", "Before": "7.50", "After": "NULL"}
    assert _cells(_field(page, "at"))["Type"] == "DATETIME"
    expect(page.locator("tr.changed")).to_have_count(2)
    expect(_field(page, "item").locator("th")).to_contain_text("≠ changed")
    red, ink = (
        _field(page, name).locator("td.after").evaluate("cell => getComputedStyle(cell).color")
        for name in ("item", "at")
    )
    assert red != ink
    expect(page.get_by_text("2 of 4 values changed")).to_be_visible()
    visitor.check_accessibility()
    visitor.photograph("update")


@pytest.mark.parametrize(("kind", "there", "empty"), [("INSERT", "After", "Before"), ("DELETE", "Before", "After")])
def test_before_an_insert_and_after_a_delete_there_is_nothing(
    visitor: Visitor, tracked: Tracked, kind: str, there: str, empty: str
):
    page = visitor.open(f"{tracked.path}/records/{tracked.offset('orders', kind)}")
    shown = _cells(_field(page, "item"))
    assert (shown[there][:5], shown[empty]) == ("item ", "")
    expect(page.locator("tr.changed")).to_have_count(0)


def test_a_ddl_is_shown_with_the_settings_it_was_executed_under(visitor: Visitor, tracked: Tracked):
    page = visitor.open(f"{tracked.path}/records?kind=DDL")
    _rows(page).first.get_by_role("link", name=re.compile("^Details")).click()
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_label("Definition")).to_contain_text("ADD COLUMN note VARCHAR(10) DEFAULT '<i>'")
    expect(dialog.get_by_label("Executed under")).to_contain_text(
        re.compile(r"SET TIMESTAMP=\d+.*sql_mode=.*SET names", re.DOTALL)
    )
    visitor.check_accessibility()


def test_hostile_names_and_values_are_shown_letter_by_letter(visitor: Visitor, tracked: Tracked):
    page = visitor.open(f"{tracked.path}/records/{tracked.offset(HOSTILE_NAME)}")
    assert page.locator("main img, main script").count() == 0
    seen = HOSTILE_NAME.replace("\u202e", "U+202E")
    expect(page.get_by_role("rowheader").first).to_contain_text(seen)
    expect(page.get_by_role("rowheader").nth(1)).to_have_text(re.compile(r"^aLF\sb$"))
    text = page.locator("tbody tr").nth(1).locator("td.after")
    for part in (
        "</td><script>alert(document.cookie)</script>U+202EU+2066txt.exeLF",
        "second lineTABU+200BBEL ' \" &lt;",
    ):
        expect(text).to_contain_text(part)
    expect(page.locator("tbody tr").nth(2).locator("td.after")).to_have_text("0xff00fe3c\u200b623e")
    assert page.title().startswith("Record ")
    visitor.check_accessibility()
    visitor.photograph("hostile")
    visitor.open(f"{tracked.path}/records?{urllib.parse.urlencode({'table': HOSTILE_NAME, 'kind': 'INSERT'})}")
    assert _cells(_rows(page).first)["Primary key"] == f"{seen}:{seen}"


def test_a_value_of_64_mb_is_shown_by_its_beginning_and_given_whole(
    browser: Browser, console: Console, mysql97: LiveServer, tmp_path: Path
):
    database = mysql97.fresh_database()
    columns = "id INT PRIMARY KEY, content LONGTEXT CHARACTER SET latin1, raw LONGBLOB"
    mysql97.execute(f"CREATE TABLE big ({columns})", database=database)
    path = console.track(mysql97, database, "big", "256MiB")
    values = f"1, REPEAT('x', {BIG_BYTES}), UNHEX(REPEAT('00ff', 3000))"
    mysql97.execute(f"INSERT INTO big VALUES ({values})", database=database)
    visitor = browser.visit(console.origin)
    page = visitor.open(f"{path}/records/{console.offset(path, 'big')}")
    content = _field(page, "content").locator("td.after")
    expect(content).to_contain_text("of 61.0 MiB shown")
    assert len(content.inner_text()) < 70_000
    with page.expect_download() as coming:
        content.get_by_role("link", name="Download the whole value of content, After").click()
    saved = tmp_path / "value"
    coming.value.save_as(saved)
    assert coming.value.suggested_filename.endswith("-1-after.txt")
    assert hashlib.sha256(saved.read_bytes()).digest() == hashlib.sha256(b"x" * BIG_BYTES).digest()
    expect(_field(page, "raw").locator("td.after")).to_contain_text("0x00ff00ff")
    visitor.check_accessibility()
    visitor.check()
    browser.dismiss()


# --- watching ---------------------------------------------------------------------------------------------------------


def test_plots_tell_in_words_what_they_show(visitor: Visitor, tracked: Tracked):
    page = visitor.open(f"{tracked.path}/monitoring?minutes=15")
    plot = page.get_by_role(
        "img", name=re.compile(r"^Delay behind the source, .* now \S+, least \S+, most \S+ seconds")
    )
    expect(plot).to_be_visible()
    expect(page.get_by_text("Consumer groups")).to_be_visible()
    page.get_by_text("Numbers").first.click()
    expect(page.get_by_role("cell").first).to_be_visible()
    visitor.check_accessibility()
    page.get_by_role("link", name="24 hours").click()
    expect(page.get_by_role("link", name="24 hours")).to_have_attribute("aria-current", "true")
    visitor.photograph("monitoring")


def test_what_somebody_folded_stays_so_when_the_plots_are_renewed(visitor: Visitor, tracked: Tracked):
    def with_all_open(route: Any) -> None:
        answer = route.fetch()
        route.fulfill(response=answer, body=answer.text().replace('<details id="numbers', '<details open id="numbers'))

    page = visitor.open(f"{tracked.path}/monitoring?minutes=15")
    page.route(re.compile(r"part=plots"), with_all_open)
    numbers = page.locator("#live-plots details").first
    expect(numbers).to_be_visible()
    numbers.evaluate("(element) => { element.open = false; element.classList.add('before'); }")
    page.evaluate("window.htmx.trigger('#live-plots', 'seen')")
    expect(page.locator("details.before")).to_have_count(0)
    expect(numbers).to_have_js_property("open", False)


class _Receiver(http.server.BaseHTTPRequestHandler):
    """A webhook."""

    received: list[Any]

    def do_POST(self) -> None:
        self.received.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Nothing is told."""


@pytest.fixture
def receiver() -> Iterator[tuple[str, list[Any]]]:
    received: list[Any] = []
    handler = type("Receiver", (_Receiver,), {"received": received})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}/hook", received
        server.shutdown()
        thread.join()


def test_a_rule_is_made_tested_changed_and_deleted(visitor: Visitor, tracked: Tracked, receiver: tuple[str, list[Any]]):
    address, received = receiver
    page = visitor.open("/alerts")
    expect(page.get_by_text("There are no rules yet")).to_be_visible()
    page.get_by_role("link", name="New rule").click()
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_label("Name")).to_be_focused()
    visitor.check_accessibility()
    dialog.get_by_label("Name").fill(HOSTILE_NAME)
    dialog.get_by_label("Seconds").fill("90")
    dialog.get_by_label("Consumer group").select_option("*")
    dialog.get_by_label("Address").fill("no address")
    with visitor.expecting(400):
        dialog.get_by_role("button", name="Create").click()
        expect(dialog.get_by_role("alert").first).to_be_visible()
        expect(dialog.get_by_label("Seconds")).to_have_value("90")
    dialog.get_by_label("Address").fill(address)
    dialog.get_by_role("button", name="Create").click()
    expect(page.locator(".note.good")).to_contain_text("The rule is in force.")
    row = page.locator("tbody tr").filter(has_text=HOSTILE_NAME[:10])
    expect(row).to_contain_text("behind for 1 min 30 s or more")
    expect(row).to_contain_text("each channel, each group")
    visitor.check_accessibility()
    row.get_by_role("link", name="Send a test").click()
    dialog.get_by_role("button", name="Send a test").click()
    expect(dialog.get_by_text("delivered", exact=True)).to_be_visible()
    assert len(received) == 1
    page.keyboard.press("Escape")
    row.get_by_role("button", name="Turn off").click()
    expect(row.get_by_text("off", exact=True)).to_be_visible()
    row.get_by_role("link", name="Edit").click()
    dialog.get_by_label("Seconds").fill("3600")
    dialog.get_by_role("button", name="Save").click()
    expect(row).to_contain_text("behind for 1 h or more")
    row.get_by_role("link", name="Delete").click()
    dialog.get_by_role("button", name="Delete").click()
    expect(page.locator(".note.good")).to_contain_text("The rule was deleted.")


def test_what_was_changed_stands_in_the_audit_log_without_passwords(visitor: Visitor, tracked: Tracked):
    page = visitor.open("/audit?search=create_group")
    expect(_rows(page)).to_have_count(1)
    shown = _cells(_rows(page).first)
    assert shown["Operation"] == "create_group"
    assert "name readers" in shown["With"]
    assert (shown["Outcome"], shown["Way"], shown["From"]) == ("done", "api", "127.0.0.1")
    assert PASSWORD not in page.content()
    visitor.check_accessibility()


# --- states, and who may see them -------------------------------------------------------------------------------------


def test_a_channel_that_may_not_start_or_stands_still_says_why_and_is_helped_on(
    visitor: Visitor, console: Console, mysql97: LiveServer
):
    database = mysql97.fresh_database()
    mysql97.execute("CREATE TABLE t (id INT PRIMARY KEY)", database=database)
    account, grant = "'halting'@'%'", "REPLICATION SLAVE, REPLICATION CLIENT"
    mysql97.execute_all(
        f"CREATE USER {account} IDENTIFIED BY '{PASSWORD}'",
        f"GRANT SELECT ON `{database}`.* TO {account}",
        f"GRANT REPLICATION CLIENT ON *.* TO {account}",
    )
    source = {"url": mysql97.url("halting", PASSWORD)}
    made = console.ask("POST", "/channels", {"source": source, "objects": [f"{database}.*"], "segment_size": "1MiB"})
    page = visitor.open(f"/channels/{made['id']}/setup")
    failed = page.locator("tr").filter(has_text="REPLICATION SLAVE privilege")
    expect(failed).to_contain_text("Failed")
    expect(failed).to_contain_text("GRANT REPLICATION SLAVE ON *.* TO")
    expect(page.get_by_role("button", name="Start", exact=True)).to_have_count(0)
    visitor.check_accessibility()
    mysql97.execute(f"GRANT {grant} ON *.* TO {account}")
    page.get_by_role("button", name="Precheck again").click()
    page.get_by_role("button", name="Start", exact=True).click()
    expect(page.get_by_role("heading", name="The channel runs.")).to_be_visible()
    mysql97.execute(f"REVOKE {grant} ON *.* FROM {account}")
    dumps = "USER = 'halting' AND COMMAND LIKE 'Binlog Dump%'"
    for (thread,) in mysql97.execute(f"SELECT ID FROM information_schema.PROCESSLIST WHERE {dumps}"):
        with contextlib.suppress(pymysql.err.OperationalError):  # it has ended by itself
            mysql97.execute(f"KILL {thread}")
    page.goto(f"/channels/{made['id']}/settings")
    expect(page.locator("main .badge.bad").first).to_have_text("Error")
    expect(page.locator("main .small.break").first).to_be_visible()
    visitor.check_accessibility()
    visitor.photograph("error")
    mysql97.execute(f"GRANT {grant} ON *.* TO {account}")
    page.get_by_role("button", name="Try again now").click()
    expect(page.locator("main .badge.good").first).to_have_text("Normal")
    console.ask("DELETE", f"/channels/{made['id']}?confirm={made['id']}")


def test_a_password_is_changed_by_who_knows_the_old_one(visitor: Visitor, tracked: Tracked):
    again = {"name": "changing", "username": "changer", "password": PASSWORD, "password_again": PASSWORD}
    group = tracked.console.ask("POST", f"{tracked.path}/groups", again)
    page = visitor.open(f"{tracked.path}/groups/{group['id']}/password")
    page.get_by_label("Old password").fill("Not4this1")
    for label in ("Password", "Password once more"):
        page.get_by_label(re.compile(f"^(New )?{label}$", re.IGNORECASE)).fill("Next5password")
    with visitor.expecting(400):
        page.locator("main").get_by_role("button").click()
        expect(page.get_by_label("Old password")).to_have_attribute("aria-invalid", "true")
    page.get_by_label("Old password").fill(PASSWORD)
    for label in ("Password", "Password once more"):
        page.get_by_label(re.compile(f"^(New )?{label}$", re.IGNORECASE)).fill("Next5password")
    page.locator("main").get_by_role("button").click()
    expect(page.get_by_text("The new password is in force.")).to_be_visible()
    tracked.console.ask("DELETE", f"{tracked.path}/groups/{group['id']}?confirm={group['id']}")


def test_behind_a_password_a_page_is_seen_by_who_logs_in_until_logging_out(browser: Browser, tmp_path: Path):
    secured = f'{CONFIGURATION}password = "{PASSWORD}"\n'
    with ServerProcess(tmp_path, secured).start() as process:
        origin = f"http://{process.bootstrap('console')}"
        process.wait_for(lambda: _is_served(origin), "serving the console")
        visitor = browser.visit(origin)
        page = visitor.open("/audit?search=sign")
        expect(page).to_have_url(re.compile("/login"))
        visitor.check_accessibility()
        password = page.get_by_label("Password or token")
        expect(password).to_be_focused()
        password.fill("Not4this1")
        with visitor.expecting(401):
            password.press("Enter")
            expect(page.get_by_role("alert")).to_be_visible()
        password.fill(PASSWORD)
        password.press("Enter")
        expect(page).to_have_url(re.compile(r"/audit\?search=sign$"))
        expect(_rows(page).first).to_contain_text("sign_in")
        page.get_by_role("button", name="Log out").click()
        expect(page).to_have_url(re.compile("/login"))
        page.goto("/audit")
        expect(page).to_have_url(re.compile("/login"))
        visitor.check()
    browser.dismiss()


def _is_served(origin: str) -> bool:
    try:
        with urllib.request.urlopen(f"{origin}/healthz"):
            return True
    except OSError:
        return False


# --- what a consumer needs --------------------------------------------------------------------------------------------


def test_sample_code_has_the_values_of_the_channel_and_no_password(visitor: Visitor, tracked: Tracked):
    page = visitor.open(f"{tracked.path}/samples")
    topic = tracked.console.ask("GET", tracked.path)["topic"]
    languages = page.get_by_role("navigation", name="Language").get_by_role("link")
    assert languages.count() >= 8
    for name in languages.all_inner_texts():
        languages.get_by_text(name, exact=True).click()
        expect(languages.get_by_text(name, exact=True)).to_have_attribute("aria-current", "true")
        code = page.locator("#sample-code")
        for value in (topic, tracked.group["id"], "YOUR_PASSWORD"):
            expect(code).to_contain_text(value)
        assert PASSWORD not in page.content()
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.get_by_role("button", name="Copy").first.click()
    expect(page.get_by_role("button", name="Copied")).to_be_visible()
    assert page.evaluate("navigator.clipboard.readText()") == page.locator("#sample-code").text_content()
    visitor.check_accessibility()


def test_the_avro_schema_is_a_file_that_a_reader_takes(visitor: Visitor, tracked: Tracked, tmp_path: Path):
    page = visitor.open(f"{tracked.path}/samples?language=python")
    with page.expect_download() as coming:
        page.get_by_role("link", name="Download the Avro schema").click()
    saved = tmp_path / coming.value.suggested_filename
    coming.value.save_as(saved)
    assert saved.name == "record.avsc"
    schema: Any = fastavro.parse_schema(json.loads(saved.read_text("utf-8")))
    assert schema["name"] == "com.alibaba.dts.formats.avro.Record"


# --- everywhere -------------------------------------------------------------------------------------------------------


def test_pages_fit_a_phone_in_the_dark_and_in_chinese(browser: Browser, tracked: Tracked):
    visitor = browser.visit(tracked.origin, phone=True, scheme="dark", language="zh-CN")
    update = tracked.offset("orders", "UPDATE")
    hostile = tracked.offset(HOSTILE_NAME)
    of_channel = (f"{tracked.path}/{name}" for name in ("records", f"records/{update}", f"records/{hostile}"))
    watching = (f"{tracked.path}/monitoring", f"{tracked.path}/samples", "/alerts", "/alerts/new", "/audit")
    for number, path in enumerate((*of_channel, *watching)):
        page = visitor.open(path)
        assert page.locator("html").get_attribute("lang") == "zh-CN"
        visitor.check_width()
        visitor.photograph(f"phone-{number}")
    visitor.check()
    browser.dismiss()


def test_the_longest_name_of_a_group_fits_a_phone(browser: Browser, tracked: Tracked):
    visitor = browser.visit(tracked.origin, phone=True)
    page = visitor.open(f"{tracked.path}/samples")
    page.locator("#group option").first.evaluate("option => { option.textContent = 'W'.repeat(128); }")
    visitor.check_width()
    visitor.check()
    browser.dismiss()


def test_a_search_works_without_scripts(browser: Browser, tracked: Tracked):
    page = browser.visit(tracked.origin, scripts=False).open(f"{tracked.path}/records")
    page.get_by_label("Table", exact=True).fill("orders")
    row = page.get_by_role("group", name="Condition 1")
    row.get_by_label("Column").fill("id")
    row.get_by_label("Value").fill("7")
    page.get_by_role("button", name="Add a condition").click()
    expect(page.get_by_role("group", name=re.compile("^Condition"))).to_have_count(2)
    expect(_rows(page)).to_have_count(2)
    _rows(page).first.get_by_role("link", name=re.compile("^Details")).click()
    expect(page.get_by_role("heading", level=2)).to_contain_text("UPDATE")
    browser.dismiss()
