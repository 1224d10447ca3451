"""The console's main pages in a real browser, on a real server and a real MySQL: from nothing to a running channel and
to its release, with what a person does and sees.
"""

from __future__ import annotations

import json
import re
import urllib.request
from collections.abc import Iterator

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.console_browser import Browser, Visitor, open_browser
from tests.live_server import LiveServer
from tests.server_process import ServerProcess

CLICKS_MAX = 6
HOSTILE = "<b>orders</b> 👩 &amp; '\""
USERNAME, PASSWORD = "console", "Never#shown4"

pytestmark = pytest.mark.server("mysql97")


@pytest.fixture(scope="module")
def database(mysql97: LiveServer) -> Iterator[str]:
    name = mysql97.fresh_database()
    mysql97.execute_all(
        "CREATE TABLE orders (id INT PRIMARY KEY, item VARCHAR(40))",
        "CREATE TABLE customers (id INT PRIMARY KEY)",
        "CREATE TABLE `odd.name` (id INT PRIMARY KEY)",
        database=name,
    )
    mysql97.execute(f"CREATE USER '{USERNAME}'@'%' IDENTIFIED BY '{PASSWORD}'")
    mysql97.execute(f"GRANT REPLICATION SLAVE, REPLICATION CLIENT, SELECT, SHOW VIEW ON *.* TO '{USERNAME}'@'%'")
    yield name
    mysql97.execute(f"DROP USER '{USERNAME}'@'%'")


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with open_browser(tmp_path_factory.mktemp("screenshots")) as browser:
        yield browser


@pytest.fixture(scope="module")
def origin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    configuration = '[[listeners]]\nname = "public"\nbind = "127.0.0.1:0"\n[console]\nbind = "127.0.0.1:0"\n'
    with ServerProcess(tmp_path_factory.mktemp("server"), configuration).start() as process:
        yield f"http://{process.bootstrap('console')}"


@pytest.fixture(scope="module")
def channel_id(browser: Browser, origin: str, mysql97: LiveServer, database: str) -> str:
    """A running channel that no test releases."""
    made = _made(origin, mysql97, database, HOSTILE + "x" * 60)
    _ask(origin, f"/channels/{made}/start", {})
    visitor = browser.visit(origin)
    visitor.open(f"/channels/{made}/setup")
    expect(visitor.page.get_by_role("heading", name="The channel runs.")).to_be_visible()
    browser.dismiss()
    return made


@pytest.fixture
def visitor(browser: Browser, origin: str) -> Iterator[Visitor]:
    visitor = browser.visit(origin)
    yield visitor
    visitor.check()
    browser.dismiss()


def _enter_source(page: Page, server: LiveServer) -> None:
    page.get_by_label("Host name or address").fill(server.host)
    page.get_by_label("Port", exact=True).fill(str(server.port))
    page.get_by_label("Account", exact=True).fill(USERNAME)
    page.get_by_label("Password", exact=True).fill(PASSWORD)


def _tick(page: Page, database: str) -> Locator:
    return page.locator(f'#databases .branch > .check input[value="{database}"]')


def _ask(origin: str, path: str, given: dict[str, object] | None = None) -> dict[str, object]:
    """Call an operation by REST: to change something if something is given."""
    body = None if given is None else json.dumps(given).encode()
    request = urllib.request.Request(f"{origin}/api/v1{path}", body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request) as response:
        answer: dict[str, object] = json.load(response)
    return answer


def _made(origin: str, server: LiveServer, database: str, name: str) -> str:
    """A channel that passed its precheck, by REST; its id."""
    source = {"host": server.host, "port": server.port, "username": USERNAME, "password": PASSWORD}
    channel_id = str(_ask(origin, "/channels", {"source": source, "objects": [database], "name": name})["id"])
    while _ask(origin, f"/channels/{channel_id}")["state"] == "Prechecking":
        pass
    return channel_id


def test_from_nothing_to_a_running_channel_in_six_clicks(visitor: Visitor, mysql97: LiveServer, database: str):
    page = visitor.open("/")
    clicks: list[str] = []

    def click(target: Locator) -> None:
        clicks.append(str(target))
        target.click()

    click(page.get_by_role("link", name="Create channel"))
    visitor.check_accessibility()
    _enter_source(page, mysql97)
    click(page.get_by_role("button", name="Next: databases and tables"))
    expect(page.locator("#databases .branch")).not_to_have_count(0)
    visitor.check_accessibility()
    click(_tick(page, database))
    click(page.get_by_role("button", name="Create and precheck"))
    click(page.get_by_role("button", name="Start", exact=True))
    expect(page.get_by_role("heading", name="The channel runs.")).to_be_visible()
    visitor.check_accessibility()
    assert len(clicks) <= CLICKS_MAX
    assert PASSWORD not in page.content()
    page.get_by_role("link", name="Back to the list").click()
    row = page.locator("tbody tr").filter(has_text="Normal").first
    expect(row).to_be_visible()
    visitor.check_accessibility()


def test_tables_are_searched_and_chosen_one_by_one(visitor: Visitor, mysql97: LiveServer, database: str):
    page = visitor.open("/create")
    _enter_source(page, mysql97)
    page.get_by_role("button", name="Next: databases and tables").click()
    with page.expect_response(re.compile("part=databases")):
        page.get_by_label("Search databases").fill(database)
    expect(page.locator("#databases .branch")).to_have_count(1)
    page.locator("#databases summary").click()
    leaves = page.locator("#databases .leaves .check")
    expect(leaves).to_have_count(3)
    page.get_by_label("Select all").check()
    assert _tick(page, database).is_checked()
    expect(leaves.first.locator("input")).to_be_disabled()
    page.get_by_label("Select all").uncheck()
    leaves.filter(has_text="odd.name").locator("input").check()
    with page.expect_response(re.compile("part=databases")):
        page.get_by_label("Search databases").fill("nothing has this name")
    expect(page.locator("#databases .branch")).to_have_count(0)
    expect(page.locator("#databases").get_by_role("checkbox", name=f"{database}.`odd.name`")).to_be_checked()
    page.get_by_role("button", name="Create and precheck").click()
    expect(page.get_by_role("button", name="Start", exact=True)).to_be_visible()
    page.goto(page.url.replace("/setup", "/settings"))
    expect(page.get_by_text(f"{database}.`odd.name`", exact=True)).to_be_visible()


def test_what_is_wrong_with_a_source_stands_beside_what_was_entered(visitor: Visitor, mysql97: LiveServer):
    page = visitor.open("/create")
    _enter_source(page, mysql97)
    page.get_by_label("Password", exact=True).fill("not this one")
    with visitor.expecting(400, 409, 502):
        page.get_by_role("button", name="Next: databases and tables").click()
        expect(page.get_by_role("alert")).to_contain_text(USERNAME)
        assert page.get_by_label("Host name or address").input_value() == mysql97.host
        assert page.get_by_label("Password", exact=True).input_value() == ""


def test_a_consumer_group_is_made_and_deleted_in_dialogs(visitor: Visitor, channel_id: str):
    page = visitor.page
    page.goto(f"/channels/{channel_id}/consume")
    opener = page.get_by_role("link", name="Create consumer group")
    visitor.tab_to(opener)
    page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog", name="Create consumer group")
    expect(dialog).to_be_visible()
    expect(dialog.get_by_label("Name", exact=True)).to_be_focused()
    visitor.check_accessibility()
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    expect(opener).to_be_focused()
    opener.click()
    dialog.get_by_label("Name", exact=True).fill(HOSTILE)
    dialog.get_by_label("Username").fill("loader")
    dialog.get_by_label("Password", exact=True).fill("short")
    dialog.get_by_label("Password once more").fill("short")
    with visitor.expecting(400):
        dialog.get_by_role("button", name="Create").click()
        expect(dialog.get_by_label("Password", exact=True)).to_have_attribute("aria-invalid", "true")
        assert dialog.get_by_label("Username").input_value() == "loader"
    dialog.get_by_label("Password", exact=True).fill("Good4password")
    dialog.get_by_label("Password once more").fill("Good4password")
    dialog.get_by_role("button", name="Create").click()
    expect(page.locator(".note.good").first).to_contain_text("may log in")
    row = page.locator("tbody tr").filter(has_text="loader")
    expect(row).to_contain_text("<b>orders</b>")
    expect(row.locator("td.number").first).to_have_text("-")
    expect(row.locator("td.number").last).to_have_text("-")
    visitor.check_accessibility()
    row.get_by_role("link", name="Delete").click()
    dialog = page.get_by_role("dialog")
    group_id = row.locator(".id").inner_text()
    button = dialog.get_by_role("button", name="Delete for good")
    expect(button).to_be_disabled()
    dialog.get_by_role("textbox").fill(group_id)
    button.click()
    expect(page.get_by_text("No consumer group yet.")).to_be_visible()


def test_a_list_stays_live_and_keeps_what_a_person_did(visitor: Visitor, channel_id: str):
    page = visitor.page
    page.goto("/channels")
    row = page.locator("tbody tr").filter(has_text=channel_id)
    row.get_by_role("checkbox").check()
    name = row.get_by_role("link").first
    name.focus()
    other = visitor.page.context.new_page()
    other.goto(f"/channels/{channel_id}/rename")
    other.get_by_label("Name").fill("after")
    other.get_by_role("button", name="Save").click()
    expect(other.get_by_role("heading", level=1)).to_have_text("after")
    other.close()
    expect(name).to_have_text("after")
    expect(row.get_by_role("checkbox")).to_be_checked()
    expect(name).to_be_focused()


def test_other_objects_are_chosen_and_come_into_force(
    visitor: Visitor, mysql97: LiveServer, database: str, channel_id: str
):
    page = visitor.page
    mysql97.execute(f"CREATE DATABASE IF NOT EXISTS `{database}_more`")
    mysql97.execute(f"CREATE TABLE IF NOT EXISTS `{database}_more`.t (id INT PRIMARY KEY)")
    page.goto(f"/channels/{channel_id}/objects")
    expect(page.locator("#databases .branch").filter(has_text=re.compile(rf"{database}\b")).first).to_contain_text(
        "tracked"
    )
    _tick(page, f"{database}_more").check()
    visitor.check_accessibility()
    page.get_by_role("button", name="Precheck and change").click()
    expect(page.locator(".note.good").first).to_contain_text("in force")
    expect(page.locator("tbody th").filter(has_text=f"{database}_more")).to_be_visible()
    mysql97.execute(f"DROP DATABASE `{database}_more`")


def test_a_source_is_changed_in_a_dialog_that_has_all_of_it_but_the_password(
    visitor: Visitor, mysql97: LiveServer, channel_id: str
):
    page = visitor.open(f"/channels/{channel_id}/settings")
    page.get_by_role("link", name="Change…").click()
    dialog = page.get_by_role("dialog", name="Change the source")
    expect(dialog.get_by_label("Host name or address")).to_have_value(mysql97.host)
    expect(dialog.get_by_label("Port", exact=True)).to_have_value(str(mysql97.port))
    expect(dialog.get_by_label("Account", exact=True)).to_have_value(USERNAME)
    password = dialog.get_by_label("Password", exact=True)
    expect(password).to_have_value("")
    visitor.check_accessibility()
    password.fill("Wr0ng-one")
    with visitor.expecting(409):
        dialog.get_by_role("button", name="Precheck and change").click()
        expect(dialog.get_by_role("alert")).to_contain_text("the source stays mysql://")
    expect(password).to_have_value("")
    password.fill(PASSWORD)
    dialog.get_by_role("button", name="Precheck and change").click()
    expect(page.get_by_text("The new source passed the precheck and is in force from now on.")).to_be_visible()
    expect(page.locator("#live-settings")).to_contain_text("Normal")


def test_channels_are_released_by_name_and_for_good(visitor: Visitor, origin: str, mysql97: LiveServer, database: str):
    page = visitor.page
    ids = [_made(origin, mysql97, database, f"goes {number}") for number in (1, 2)]
    page.goto("/channels?search=goes")
    expect(page.locator("tbody tr")).to_have_count(2)
    release = page.get_by_role("button", name="Release selected…")
    expect(release).to_be_disabled()
    page.get_by_label("Select all").check()
    release.click()
    dialog = page.get_by_role("dialog", name="Release 2 channels")
    for channel_id in ids:
        expect(dialog).to_contain_text(channel_id)
    visitor.check_accessibility()
    dialog.get_by_role("textbox").fill("release 2 channels")
    dialog.get_by_role("button", name="Release for good").click()
    expect(page.get_by_role("dialog", name="Released")).to_be_visible()
    page.goto("/channels?search=goes")
    expect(page.get_by_text("No channel fits this filter.")).to_be_visible()


@pytest.mark.parametrize("path", ["/channels", "/create", "/create/account"])
def test_a_phone_shows_a_page_in_its_width_and_the_dark(browser: Browser, origin: str, path: str):
    visitor = browser.visit(origin, phone=True, scheme="dark", language="zh-CN")
    page = visitor.open(path)
    assert page.locator("html").get_attribute("lang") == "zh-CN"
    visitor.check_width()
    visitor.check()
    browser.dismiss()


def test_a_channels_pages_fit_a_phone(browser: Browser, origin: str, channel_id: str):
    visitor = browser.visit(origin, phone=True)
    for name in ("setup", "settings", "objects", "consume", "create-group", "release", "rename", "source"):
        visitor.open(f"/channels/{channel_id}/{name}")
        visitor.check_width()
    visitor.open(f"/channels/{channel_id}/settings")
    visitor.check_accessibility()
    visitor.check()
    browser.dismiss()


def test_basic_forms_work_without_scripts(browser: Browser, origin: str, mysql97: LiveServer, database: str):
    context = browser._browser.new_context(base_url=origin, java_script_enabled=False)
    page = context.new_page()
    channel_id = _created_without_scripts(page, mysql97, database)
    page.goto(f"/channels/{channel_id}/release")
    page.get_by_role("textbox").fill(channel_id)
    page.get_by_role("button", name="Release for good").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Released")
    context.close()


def _created_without_scripts(page: Page, server: LiveServer, database: str) -> str:
    page.goto("/create")
    _enter_source(page, server)
    page.get_by_role("button", name="Next: databases and tables").click()
    _tick(page, database).check()
    page.get_by_role("button", name="Create and precheck").click()
    page.wait_for_url("**/setup**")
    return page.url.split("/")[4]


def test_the_account_is_made_from_an_administrators_login(visitor: Visitor, mysql97: LiveServer, database: str):
    page = visitor.open("/create")
    page.get_by_role("link", name="Create the account…").click()
    page.get_by_label("Host name or address").fill(mysql97.host)
    page.get_by_label("Port", exact=True).fill(str(mysql97.port))
    page.get_by_label("Administrator's account").fill(mysql97.root_user)
    page.get_by_label("Administrator's password").fill(mysql97.root_password)
    page.get_by_label("Name of the new account").fill("made_here")
    page.get_by_label("Password of the new account").fill(PASSWORD)
    page.get_by_role("button", name="Show the statements").click()
    statements = page.locator("#statements")
    expect(statements).to_contain_text("CREATE USER 'made_here'@")
    expect(statements).not_to_contain_text(PASSWORD)
    visitor.check_accessibility()
    page.get_by_role("button", name="Create it and go on").click()
    expect(_tick(page, database)).to_be_visible()
    made = mysql97.execute("SELECT CONCAT(QUOTE(user), '@', QUOTE(host)) FROM mysql.user WHERE user = 'made_here'")
    assert len(made) == 1
    mysql97.execute(f"DROP USER {made[0][0]}")


def test_nothing_is_asked_for_while_nobody_looks(visitor: Visitor):
    page, asked = visitor.page, list[str]()
    page.clock.install()
    page.on("request", lambda request: asked.append(request.url))
    visitor.open("/channels")
    hidden = "Object.defineProperty(document, 'hidden', {configurable: true, get: () => %s})"
    with page.expect_response(re.compile("part=list")):
        page.clock.run_for(2_500)
    page.evaluate(hidden % "true")
    before = len(asked)
    page.clock.run_for(20_000)
    assert asked[before:] == []
    page.evaluate(hidden % "false")
    with page.expect_response(re.compile("part=list")):
        page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
