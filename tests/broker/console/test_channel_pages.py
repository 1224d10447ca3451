"""Pages about channels and groups as they are served, on operations that answer what a test wants and remember what
they were asked.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from msgspec import Struct
from msgspec.structs import replace

from broker.config import ConsoleConfig, Secret
from broker.console import rendering
from broker.console.access import Guard
from broker.console.application import make_application, make_guard
from broker.console.keys import Keys
from broker.console.pages.wizard import DRAFT_LIFE_MS, DRAFTS_MAX
from broker.control import ChannelView, GroupView, MemberView, PrecheckItem, ProgressView, SourceView
from broker.lifecycle import Situation, allowed
from broker.operations.channels import ChannelList, Released, ReleasedChannels, ReleasePreview, SourceChanged
from broker.operations.groups import GroupList
from broker.operations.operation import Done, Operation, OperationError, Refusal
from broker.operations.server import ListenerView, ServerView
from broker.operations.sources import AccountView, DatabaseList, DatabaseRow, TableList, TableRow
from broker.operations.table import BY_NAME
from tests.broker.console.asked import Answer, ask
from tests.fakes import ManualClock, ManualScheduler

LISTENERS = (ListenerView("public", "1.2.3.4:18001"), ListenerView("console", "[::1]:18080"))
HOSTILE = "<script>alert(1)</script>\u202e👩"
SECRET = "Never#shown4"
FAILED = PrecheckItem("binlog_format", "failed", "MIXED", "no rows", "SET GLOBAL binlog_format = 'ROW';")


def channel(situation: Situation = Situation.NORMAL, defined_by: str = "operation", **values: Any) -> ChannelView:
    given: dict[str, Any] = {
        "id": "dts1",
        "name": "orders",
        "topic": "local_dts1_a_version2",
        "source": "mysql://a@10.0.0.5:3306",
        "state": "Not Started" if situation is Situation.LEFT else str(situation).partition(",")[0],
        "reason": None,
        "retried_until_ms": None,
        "start_offset": 0,
        "high_watermark": 7,
        "start_timestamp_ms": 1_700_000_000_000,
        "end_timestamp_ms": 1_700_000_009_000,
        "position": "binlog.000188:102420",
        "records_per_s": 1.5,
        "lag_ms": 20,
        "durable_offset": 7,
        "disk": None,
        "damages": (),
        "refused_objects": None,
        "groups": (),
        "defined_by": defined_by,
        "region": "local",
        "objects": ("shop", "crm.customers"),
        "data_types": ("dml", "ddl"),
        "operations": allowed(situation, defined_by),
        "precheck": (FAILED,),
        "prechecked_ms": 1_700_000_000_000,
    }
    return ChannelView(**(given | values))


def group(**values: Any) -> GroupView:
    given: dict[str, Any] = {
        "id": "dtspis1",
        "name": "loader",
        "username": "load",
        "offset": None,
        "metadata": None,
        "behind": None,
        "defined_by": "operation",
    }
    return GroupView(**(given | values))


class Operations(dict[str, Operation]):
    """All operations with their own arguments and results, done by what `answers` has for them."""

    def __init__(self) -> None:
        super().__init__({name: replace(row, handler=self._handler(name)) for name, row in BY_NAME.items()})
        self.asked: list[tuple[str, Any]] = []
        self.answers: dict[str, Any] = {
            "show_channel": channel(),
            "list_channels": ChannelList((channel(),), 1, 1, 20, ("local",)),
            "list_groups": GroupList((), 20),
            "show_server": ServerView("1", LISTENERS, 0),
            "list_databases": DatabaseList((DatabaseRow("shop", "shop", 2), DatabaseRow("new", "new", 1)), 2, 1, 100),
            "list_tables": TableList((TableRow("new", "t", "new.t"),), 1, 1, 100),
        }

    def _handler(self, name: str) -> Callable[[Any, Any], Any]:
        async def handle(plane: Any, arguments: Struct) -> Any:
            self.asked.append((name, arguments))
            answer = self.answers[name]
            if isinstance(answer, OperationError):
                raise answer
            return answer

        return handle

    def last(self, name: str) -> Any:
        return [arguments for asked, arguments in self.asked if asked == name][-1]


class Audit:
    async def note(self, *_: Any) -> None:
        pass

    note_event = note_refused_login = note


class Visitor:
    """A browser without scripts: cookies, and forms that carry the token of the page they were on."""

    def __init__(self, guard: Guard) -> None:
        self.guard = guard
        self.cookies: dict[str, str] = {}
        self.token = ""

    async def get(self, address: str, **headers: str) -> Answer:
        return self._kept(await ask(self.guard, address, headers=self._headers(headers)))

    async def post(self, address: str, form: dict[str, str] | list[tuple[str, str]], **headers: str) -> Answer:
        pairs = [*(form.items() if isinstance(form, dict) else form), ("csrf_token", self.token)]
        return self._kept(await ask(self.guard, address, pairs, self._headers(headers)))

    def _headers(self, given: dict[str, str]) -> dict[str, str]:
        cookies = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        return {name.replace("_", "-"): value for name, value in given.items()} | {"cookie": cookies}

    def _kept(self, answer: Answer) -> Answer:
        for name, value in answer.headers:
            if name == "set-cookie":
                cookie, _, kept = value.partition(";")[0].partition("=")
                self.cookies[cookie] = kept
        if found := re.search(r'name="csrf_token" value="([^"]+)"', answer.text):
            self.token = found[1]
        return answer


@pytest.fixture
def operations(monkeypatch: pytest.MonkeyPatch) -> Operations:
    operations = Operations()
    monkeypatch.setattr(rendering, "BY_NAME", operations)
    return operations


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


def _guard(clock: ManualClock, **keys: Any) -> Guard:
    plane: Any = SimpleNamespace(clock=clock, audit=Audit(), audit_log=Audit())
    return make_guard(make_application(), plane, Keys(ConsoleConfig(**keys), clock, ManualScheduler(clock)))


@pytest.fixture
def visitor(operations: Operations, clock: ManualClock) -> Visitor:
    return Visitor(_guard(clock))


# --- what is shown --------------------------------------------------------------------------------------------------

PAGES = ("settings", "setup", "objects", "consume", "release", "rename", "source", "create-group")


@pytest.mark.parametrize(
    ("situation", "defined_by"),
    [
        (situation, by)
        for situation in Situation
        for by in (["none"] if situation == Situation.LEFT else ["file", "operation"])
    ],
)
async def test_every_situation_is_shown_with_what_is_allowed_in_it(visitor, operations, situation, defined_by):
    shown = channel(situation, defined_by)
    operations.answers |= {
        "show_channel": shown,
        "list_channels": ChannelList((shown,), 1, 1, 20, ()),
        "preview_release": ReleasePreview("dts1", "orders", ("7 records",), (), "dts1"),
    }
    for path in ("/channels", *(f"/channels/dts1/{name}" for name in ("settings", "setup", "objects", "consume"))):
        page = await visitor.get(path)
        assert page.status == 200
        offered = set(re.findall(r'(?:action|href)="/channels/dts1/([a-z-]+)"', page.text))
        for action, operation in (
            ("start", "start_channel"),
            ("resume", "resume_channel"),
            ("precheck", "precheck_channel"),
            ("release", "release_channel"),
            ("rename", "rename_channel"),
            ("source", "change_source"),
            ("create-group", "create_group"),
        ):
            assert action not in offered or operation in shown.operations
        assert ('name="objects"' in page.text) == (path.endswith("objects") and "change_objects" in shown.operations)
    settings = await visitor.get("/channels/dts1/settings")
    assert ("defined by the file" in settings.text) == (defined_by == "file")
    assert ("binwire reload" in settings.text) == (defined_by == "file")


@pytest.mark.parametrize("path", ["/channels", *(f"/channels/dts1/{name}" for name in PAGES), "/release?channel_ids=a"])
async def test_hostile_names_are_shown_as_they_are_written(visitor, operations, path):
    evil = channel(
        name=HOSTILE,
        reason=HOSTILE,
        source=HOSTILE,
        region=HOSTILE,
        objects=(HOSTILE,),
        refused_objects=HOSTILE,
        precheck=(PrecheckItem(HOSTILE, "failed", HOSTILE, HOSTILE, HOSTILE),),
        progress=ProgressView(HOSTILE, 0.5),
        damages=(HOSTILE,),
    )
    member = MemberView(HOSTILE, HOSTILE, HOSTILE, is_active=True, since_ms=0)
    operations.answers |= {
        "show_channel": evil,
        "list_channels": ChannelList((evil,), 1, 1, 20, (HOSTILE,)),
        "list_groups": GroupList((group(name=HOSTILE, members=(member,)),), 20),
        "list_databases": DatabaseList((DatabaseRow(HOSTILE, HOSTILE, 1),), 1, 1, 100),
        "preview_release": ReleasePreview("dts1", HOSTILE, (HOSTILE,), (HOSTILE,), "dts1"),
    }
    page = await visitor.get(path)
    assert page.status == 200
    assert "<script>alert" not in page.text
    assert ("&lt;script&gt;alert(1)&lt;/script&gt;" in page.text) == (not path.endswith("create-group"))
    # As a value that a form gives back a name has to be whole; wherever it is read it has its marks.
    shown = re.sub(
        r'(?:value|data-\w+)="[^"]*"|<(pre|code) id.*?</\1>|<option.*?</option>', "", page.text, flags=re.DOTALL
    )
    assert "\u202e" not in shown


async def test_a_part_of_a_page_is_asked_for_alone(visitor):
    page, part = await visitor.get("/channels"), await visitor.get("/channels?part=list")
    assert "<html" in page.text
    assert 'hx-get="/channels?part=list"' in page.text
    assert "<html" not in part.text
    assert "orders" in part.text
    assert "<html" in (await visitor.get("/channels?part=nothing")).text


async def test_a_dialog_has_the_page_without_its_frame(visitor):
    answer = await visitor.get("/channels/dts1/create-group", hx_request="true", hx_target="dialog-body")
    assert "<html" not in answer.text
    assert "<form" in answer.text


async def test_the_list_is_filtered_and_paged(visitor, operations):
    operations.answers["list_channels"] = ChannelList((channel(),), 45, 2, 20, ("local", "cn-x"))
    page = await visitor.get("/channels?search=or&region=cn-x&page=2")
    asked = operations.last("list_channels")
    assert (asked.search, asked.region, asked.page, asked.page_size) == ("or", "cn-x", 2, 20)
    assert "45 in all · Page 2 of 3" in page.text
    assert 'href="/channels?search=or&amp;region=cn-x&amp;page=3"' in page.text
    assert (await visitor.get("/channels?page=-1")).status == 200
    assert operations.last("list_channels").page == 1


async def test_consumption_has_a_dash_where_no_client_is(visitor, operations):
    reading = group(id="dtspis2", consume_timestamp_ms=1_700_000_000_000, remaining=12_977, delay_s=5, connections=1)
    members = tuple(MemberView(f"m{n}", f"client-{n}", "10.0.0.1", is_active=n == 0, since_ms=None) for n in range(7))
    operations.answers["list_groups"] = GroupList((group(), replace(reading, members=members)), 20)
    page = await visitor.get("/channels/dts1/consume")
    assert re.findall(r'class="number"[^>]*>([^<]*)<', page.text)[-4:] == ["-", "-", "12,977", "5"]
    assert page.text.count("stands by</span>") == 4
    assert "and 2 more" in page.text
    assert "2 of 20" in page.text


async def test_a_group_of_the_file_cannot_be_changed_here(visitor, operations):
    operations.answers["list_groups"] = GroupList((group(defined_by="file"),), 20)
    page = await visitor.get("/channels/dts1/consume")
    assert "defined by the file" in page.text
    assert "/groups/dtspis1/" not in page.text


async def test_settings_have_the_topic_and_every_listener_of_kafka(visitor):
    page = await visitor.get("/channels/dts1/settings")
    assert "local_dts1_a_version2" in page.text
    assert "1.2.3.4:18001" in page.text
    assert "::1" not in page.text


async def test_what_is_refused_is_a_page_with_its_status(visitor, operations):
    operations.answers["show_channel"] = OperationError(Refusal.NOT_FOUND, "there is no channel 'x'")
    page = await visitor.get("/channels/x/settings")
    assert page.status == 404
    assert "there is no channel &#39;x&#39;" in page.text
    chinese = await visitor.get("/channels/x/settings", accept_language="zh")
    assert "未找到" in chinese.text


# --- what is done ---------------------------------------------------------------------------------------------------


async def test_a_button_does_what_it_says_and_leads_on(visitor, operations):
    operations.answers |= {name: channel() for name in ("start_channel", "precheck_channel", "resume_channel")}
    await visitor.get("/channels/dts1/rename")
    for action in ("start", "precheck", "resume"):
        answer = await visitor.post(f"/channels/dts1/{action}", {})
        assert (answer.status, operations.last(f"{action}_channel").channel_id) == (303, "dts1")
        assert (answer.header("location") or "").startswith("/channels/dts1/settings?said=")
    answer = await visitor.post("/channels/dts1/start", {"from": "setup"})
    assert answer.header("location") == "/channels/dts1/setup?said=started"


async def test_a_dialog_is_led_on_by_a_header(visitor, operations):
    operations.answers["rename_channel"] = channel()
    await visitor.get("/channels/dts1/rename")
    answer = await visitor.post("/channels/dts1/rename", {"name": " new "}, hx_request="true")
    assert (answer.status, answer.header("hx-redirect")) == (204, "/channels/dts1/settings?said=renamed")
    assert operations.last("rename_channel").name == "new"


async def test_a_form_that_is_refused_comes_back_without_its_passwords(visitor, operations):
    operations.answers["create_group"] = OperationError(Refusal.INVALID, "too short", field="password")
    await visitor.get("/channels/dts1/create-group")
    form = {"name": "my group", "username": "load", "password": SECRET, "password_again": SECRET}
    answer = await visitor.post("/channels/dts1/create-group", form)
    assert answer.status == 400
    assert 'value="my group"' in answer.text
    assert SECRET not in answer.text
    assert re.search(r'name="password"[^>]*aria-invalid="true"[^>]*aria-describedby="field-password-told"', answer.text)
    assert operations.last("create_group").password.reveal() == SECRET


async def test_a_groups_password_is_changed_and_a_group_deleted(visitor, operations):
    operations.answers |= {
        "list_groups": GroupList((group(),), 20),
        "change_password": Done("changed"),
        "delete_group": Done("deleted"),
    }
    await visitor.get("/channels/dts1/groups/dtspis1/password")
    form = {"old_password": "a", "password": "b", "password_again": "c"}
    assert (await visitor.post("/channels/dts1/groups/dtspis1/password", form)).status == 303
    given = operations.last("change_password")
    assert [given.old_password.reveal(), given.password.reveal(), given.password_again.reveal()] == ["a", "b", "c"]
    page = await visitor.get("/channels/dts1/groups/dtspis1/delete")
    assert 'data-confirm="dtspis1"' in page.text
    assert (await visitor.post("/channels/dts1/groups/dtspis1/delete", {"confirm": "dtspis1"})).status == 303
    assert operations.last("delete_group").confirm == "dtspis1"
    assert (await visitor.get("/channels/dts1/groups/other/delete")).status == 404


async def test_objects_that_fail_their_precheck_come_back_as_they_were_chosen(visitor, operations):
    item = {"name": "keys", "outcome": "failed", "found": "none", "means": "no key", "remedy": "ALTER TABLE t …"}
    operations.answers["change_objects"] = OperationError(Refusal.PRECHECK_FAILED, "failed: keys", details=[item])
    await visitor.get("/channels/dts1/objects")
    form = [("objects", "shop"), ("objects", "new.t"), ("data_types", "dml"), ("added", "a.b\r\n\r\n c ")]
    page = await visitor.post("/channels/dts1/objects", form)
    assert page.status == 409
    assert operations.last("change_objects").objects == ("shop", "new.t", "a.b", "c")
    assert operations.last("change_objects").data_types == ("dml",)
    assert "ALTER TABLE t …" in page.text
    assert re.search(r'value="shop" checked', page.text)
    assert re.search(r'value="crm.customers">', page.text)


async def test_objects_can_be_changed_while_the_source_is_away(visitor, operations):
    operations.answers["list_databases"] = OperationError(Refusal.SOURCE_UNAVAILABLE, "nobody answers")
    page = await visitor.get("/channels/dts1/objects")
    assert page.status == 200
    assert "nobody answers" in page.text
    assert 'name="added"' in page.text


async def test_a_source_is_changed_by_a_form_that_has_all_of_it_but_the_password(visitor, operations):
    parts = SourceView(kind="mariadb", host="10.0.0.5", port=3307, username="a", tls="verify_ca", tls_ca="/etc/ca.pem")
    operations.answers["show_channel"] = channel(source_parts=parts)
    page = await visitor.get("/channels/dts1/source")
    for shown in ('value="10.0.0.5"', 'value="3307"', 'value="/etc/ca.pem"', "verify_ca", '"verify_ca" selected'):
        assert shown in page.text
    assert "None" not in page.text
    given = {"kind": "mariadb", "host": "h", "port": "3306", "username": "b", "password": SECRET, "tls": "required"}
    operations.answers["change_source"] = OperationError(Refusal.INVALID, "no host h", field="source.host")
    page = await visitor.post("/channels/dts1/source", given)
    assert page.status == 400
    assert page.text.count("no host h") == 2
    assert SECRET not in page.text
    operations.answers["change_source"] = SourceChanged("dts1 goes on", channel())
    answer = await visitor.post("/channels/dts1/source", given, hx_request="true")
    assert (answer.status, answer.header("hx-redirect")) == (204, "/channels/dts1/settings?said=source")
    asked = operations.last("change_source").source.address().reveal()
    assert asked == "mariadb://b:Never%23shown4@h:3306/?tls=required"


async def test_the_files_of_a_channel_are_changed_by_their_address(visitor, operations):
    operations.answers["show_channel"] = channel(source="file:///data/binlog.000001")
    page = await visitor.get("/channels/dts1/source")
    assert 'value="file:///data/binlog.000001"' in page.text
    operations.answers["change_source"] = SourceChanged("dts1 goes on", channel())
    await visitor.post("/channels/dts1/source", {"url": "file:///data/binlog.000001,binlog.000002"})
    assert operations.last("change_source").source.url.reveal() == "file:///data/binlog.000001,binlog.000002"


async def test_a_release_names_what_goes_and_what_to_take_back(visitor, operations):
    operations.answers |= {
        "preview_release": ReleasePreview("dts1", "orders", ("7 records",), ("DROP USER 'a'@'b';",), "dts1"),
        "release_channel": OperationError(Refusal.INVALID, "repeat the id", field="confirm"),
    }
    page = await visitor.get("/channels/dts1/release")
    assert "7 records" in page.text
    assert "DROP USER &#39;a&#39;@&#39;b&#39;;" in page.text
    assert (await visitor.post("/channels/dts1/release", {"confirm": "x"})).status == 400
    operations.answers["release_channel"] = Released("dts1", "it is gone", ("DROP USER …",))
    page = await visitor.post("/channels/dts1/release", {"confirm": "dts1"})
    assert operations.last("release_channel").confirm == "dts1"
    assert "it is gone" in page.text
    assert "DROP USER …" in page.text


async def test_several_are_released_at_once_and_those_that_stay_are_told(visitor, operations):
    operations.answers |= {
        "preview_release": ReleasePreview("dts1", "orders", (), (), "dts1"),
        "release_channels": ReleasedChannels(
            (Released("a", "gone"), Released("b", "starts now", refusal="not_allowed_now"))
        ),
    }
    page = await visitor.get("/release?channel_ids=a&channel_ids=b&channel_ids=a")
    assert 'data-confirm="release 2 channels"' in page.text
    form = [("channel_ids", "a"), ("channel_ids", "b"), ("confirm", "release 2 channels")]
    page = await visitor.post("/release", form)
    assert operations.last("release_channels").channel_ids == ("a", "b")
    assert re.search(r"not released</span>\s*<code>b</code>", page.text)
    assert "No channel was chosen." in (await visitor.get("/release")).text


# --- the wizard -----------------------------------------------------------------------------------------------------

SOURCE = {"kind": "mysql", "host": "10.0.0.5", "port": "3307", "username": "a", "password": SECRET, "tls": "required"}


async def _draft(visitor: Visitor) -> str:
    await visitor.get("/create")
    answer = await visitor.post("/create", SOURCE)
    assert answer.status == 303
    return answer.header("location") or ""


async def test_a_source_is_tried_and_its_password_is_in_no_page(visitor, operations):
    operations.answers["create_channel"] = channel()
    path = await _draft(visitor)
    tried = operations.last("list_databases").source
    assert (tried.host, tried.port, tried.password.reveal(), tried.tls) == ("10.0.0.5", 3307, SECRET, "required")
    page = await visitor.get(path)
    assert SECRET not in page.text
    assert SECRET not in (await visitor.get(f"/create?draft={path.split('/')[2]}")).text
    form = [("objects", "shop"), ("objects", "new.t"), ("objects", "shop"), ("data_types", "ddl"), ("name", " mine ")]
    answer = await visitor.post(path, form)
    assert answer.header("location") == "/channels/dts1/setup"
    given = operations.last("create_channel")
    assert (given.objects, given.data_types, given.name, given.region) == (("shop", "new.t"), ("ddl",), "mine", None)
    assert given.source.password.reveal() == SECRET
    assert (await visitor.get(path)).status == 404


async def test_a_form_that_is_sent_twice_makes_one_channel(visitor, operations):
    path = await _draft(visitor)
    await visitor.get(path)
    again: list[int] = []

    async def create(plane: Any, arguments: Any) -> ChannelView:
        again.append((await visitor.post(path, [("objects", "shop")])).status)
        return channel()

    operations["create_channel"] = replace(BY_NAME["create_channel"], handler=create)
    assert (await visitor.post(path, [("objects", "shop")])).status == 303
    assert again == [404]


async def test_what_was_entered_is_still_there_when_a_channel_is_refused(visitor, operations):
    operations.answers["create_channel"] = OperationError(Refusal.INVALID, "too long", field="name")
    path = await _draft(visitor)
    await visitor.get(path)
    answer = await visitor.post(path, [("objects", "shop"), ("name", "my channel")])
    assert answer.status == 400
    assert re.search(r'value="shop" checked', answer.text)
    assert 'value="my channel"' in answer.text
    assert (await visitor.get(path)).status == 200


@pytest.mark.parametrize(
    ("form", "field", "sentence"),
    [
        ([("data_types", "dml")], "objects", "Tick a database or a table."),
        ([("objects", "shop")], "data_types", "Tick data updates, schema updates or both."),
    ],
)
async def test_no_tick_is_no_usual_choice_and_told_in_words_of_the_page(visitor, operations, form, field, sentence):
    operations.answers["create_channel"] = OperationError(Refusal.INVALID, f"{field}: found []", field=field)
    path = await _draft(visitor)
    answer = await visitor.post(path, form)
    assert (answer.status, tuple(getattr(operations.last("create_channel"), field))) == (400, ())
    assert sentence in answer.text
    assert "found []" not in answer.text


async def test_a_password_that_was_entered_is_used_again_when_going_back(visitor, operations):
    path = await _draft(visitor)
    form = {**SOURCE, "password": "", "host": "10.0.0.6", "draft": path.split("/")[2]}
    assert (await visitor.post("/create", form)).status == 303
    tried = operations.last("list_databases").source
    assert (tried.host, tried.password.reveal()) == ("10.0.0.6", SECRET)


async def test_a_source_that_does_not_answer_is_told_beside_its_field(visitor, operations):
    operations.answers["list_databases"] = OperationError(Refusal.SOURCE_UNAVAILABLE, "no route", field="source.host")
    await visitor.get("/create")
    answer = await visitor.post("/create", SOURCE)
    assert answer.status == 502
    assert re.search(r'name="host"[^>]*aria-invalid="true"', answer.text)
    assert SECRET not in answer.text


async def test_a_draft_ends_after_its_time(visitor, clock):
    path = await _draft(visitor)
    clock.advance(DRAFT_LIFE_MS + 1)
    assert (await visitor.get(path)).status == 404


@pytest.mark.parametrize("jump_ms", [10 * DRAFT_LIFE_MS, -10 * DRAFT_LIFE_MS])
async def test_a_draft_lives_as_long_whatever_the_wall_clock_does(visitor, clock, jump_ms):
    path = await _draft(visitor)
    clock.set_wall(jump_ms)
    assert (await visitor.get(path)).status == 200
    clock.advance(DRAFT_LIFE_MS + 1)
    assert (await visitor.get(path)).status == 404


async def test_only_so_many_drafts_are_kept(visitor):
    first = await _draft(visitor)
    for _ in range(DRAFTS_MAX):
        await visitor.post("/create", SOURCE)
    assert (await visitor.get(first)).status == 404


async def test_tables_are_shown_with_those_ticked_before(visitor, operations):
    path = (await _draft(visitor)).replace("/objects", "/tables")
    page = await visitor.get(f"{path}?database=new&within=x&objects=new.t&objects=new.other&objects=shop.u&objects=``")
    assert operations.last("list_tables").databases == ("new",)
    assert operations.last("list_tables").search == "x"
    assert re.search(r'value="new.t" checked', page.text)
    assert re.search(r'value="new.other" checked', page.text)
    assert "shop.u" not in page.text


async def test_an_account_is_shown_as_statements_and_then_made(visitor, operations):
    plan = AccountView("'b'@'%'", False, "8", ("CREATE USER 'b'@'%' IDENTIFIED BY '<password>';",), ("x=1",), True, ())
    operations.answers |= {"preview_account": plan, "create_account": plan}
    await visitor.get("/create/account")
    form = {**SOURCE, "administrator": "root", "administrator_password": "Root#secret1", "step": "preview"}
    page = await visitor.post("/create/account", form)
    assert "CREATE USER &#39;b&#39;@&#39;%&#39; IDENTIFIED BY &#39;&lt;password&gt;&#39;;" in page.text
    assert "Root#secret1" not in page.text
    assert SECRET not in page.text
    part = await visitor.post("/create/account", form, hx_target="plan", hx_request="true")
    assert "<html" not in part.text
    answer = await visitor.post("/create/account", {**form, "step": "create"})
    given = operations.last("create_account")
    assert (given.administrator.username, given.administrator.password.reveal()) == ("root", "Root#secret1")
    path = answer.header("location") or ""
    assert re.fullmatch(r"/create/[\w-]+/objects", path)
    await visitor.get(path)
    assert operations.last("list_databases").source.username == "a"


# --- in and out -----------------------------------------------------------------------------------------------------


async def test_somebody_logs_in_and_out(operations, clock):
    visitor = Visitor(_guard(clock, password=Secret(SECRET)))
    answer = await visitor.get("/channels?page=2", accept="text/html")
    assert (answer.status, answer.header("location")) == (303, "/login?next=%2Fchannels%3Fpage%3D2")
    page = await visitor.get("/login?next=/channels%3Fpage%3D2", accept_language="zh")
    assert "登录" in page.text
    assert "/audit" not in page.text
    wrong = await visitor.post("/login", {"password": "no", "next": "/channels?page=2"})
    assert wrong.status == 401
    assert "This is not right" in wrong.text
    answer = await visitor.post("/login", {"password": SECRET, "next": "/channels?page=2"})
    assert (answer.status, answer.header("location")) == (303, "/channels?page=2")
    page = await visitor.get("/channels?page=2")
    assert 'action="/logout"' in page.text
    answer = await visitor.post("/logout", {})
    assert answer.header("location") == "/login?said=logged_out"
    assert (await visitor.get("/channels", accept="text/html")).status == 303


async def test_a_draft_is_its_makers_alone(operations, clock):
    guard = _guard(clock, password=Secret(SECRET))
    first, second = Visitor(guard), Visitor(guard)
    for visitor in (first, second):
        await visitor.get("/login")
        await visitor.post("/login", {"password": SECRET, "next": "/"})
        await visitor.get("/create")
    path = await _draft(first)
    await first.post("/logout", {})
    assert (await first.get(path, accept="text/html")).status == 303
