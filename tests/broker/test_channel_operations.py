"""Channels made, changed and released by operations, on recorded binlogs: nothing here needs a server."""

from __future__ import annotations

import asyncio
import re
import shutil
from typing import TYPE_CHECKING, Any

import pytest
from msgspec.structs import asdict, replace

from broker.apis.fetch import FetchPartition, FetchRequest, FetchTopic
from broker.apis.metadata import MetadataRequest, MetadataResponse
from broker.capturing import run_precheck
from broker.channels import source_parts
from broker.config import Secret
from broker.group_rules import allowed_name
from broker.lifecycle import DefinedBy
from broker.managed import join_password, split_password
from broker.operations.channels import _running
from broker.operations.operation import Refusal
from broker.operations.sources import SourceArguments
from capture.source import SourceAddress
from storage.errors import StorageError
from storage.words import shown_bytes
from tests.broker.control_plane import RECORDING, Control
from tests.broker.raw_client import RawClient

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

pytestmark = pytest.mark.timeout(90)

FILED: dict[str, Any] = {"id": "filed", "topic": "filed", "source": f"file://{RECORDING}", "objects": ["shop"]}
NO_FILE = {"url": "file:///nowhere/mysql-bin.000001"}
GROUP = {"name": "g", "username": "reader", "password": "Secret-123", "password_again": "Secret-123"}


@pytest.fixture
async def control(tmp_path: Path) -> AsyncIterator[Control]:
    async with Control(tmp_path) as running:
        yield running


@pytest.fixture
def looking(monkeypatch: pytest.MonkeyPatch) -> asyncio.Event:
    """Prechecks wait for it."""
    event, look = asyncio.Event(), run_precheck

    async def wait_and_look(*given: Any, **named: Any) -> Any:
        await event.wait()
        return await look(*given, **named)

    monkeypatch.setattr("broker.app.run_precheck", wait_and_look)
    return event


# ---- making one ----


async def test_a_channel_is_looked_at_by_itself_and_started_when_that_passed(
    control: Control, looking: asyncio.Event
) -> None:
    view = await control.call(
        "create_channel",
        source={"url": f"file://{RECORDING}"},
        objects=["shop"],
        region="cn_hangzhou",
        start="earliest",
    )
    assert re.fullmatch("dts[a-z0-9]{15}", view.id)
    assert view.topic == f"cn_hangzhou_{view.id}_dtsacct_version2"
    assert view.name == "shop at demo-shop.000001"
    assert (view.state, view.defined_by, view.region, view.instance_id) == (
        "Prechecking",
        "operation",
        "cn_hangzhou",
        view.id,
    )
    assert (await control.refused("start_channel", channel_id=view.id)).refusal is Refusal.NOT_ALLOWED_NOW
    looking.set()
    view = await control.prechecked(view.id)
    assert (view.state, view.reason) == ("Not Started", "the precheck passed; it waits to be started")
    assert view.precheck is not None
    assert {item.outcome for item in view.precheck} == {"passed"}
    assert view.prechecked_ms is not None
    assert "start_channel" in view.operations
    await control.call("start_channel", channel_id=view.id)
    await control.served(view.id).channel.wait_ended()  # type: ignore[attr-defined]
    view = await control.show(view.id)
    assert view.state == "Normal"
    assert view.reason is not None
    assert "the source ended" in view.reason
    assert view.high_watermark > 10
    assert "resume_channel" in view.operations
    assert (await control.call("resume_channel", channel_id=view.id)).id == view.id


async def test_a_precheck_that_failed_says_what_and_is_run_again(control: Control, tmp_path: Path) -> None:
    file = tmp_path / "mysql-bin.000001"
    channel_id = await control.create(source={"url": f"file://{file}"})
    view = await control.show(channel_id)
    assert view.state == "Not Started"
    assert view.reason is not None
    assert view.reason.startswith("the precheck failed: reachable: ")
    assert view.precheck is not None
    assert [item.outcome for item in view.precheck] == ["failed"]
    assert view.precheck[0].remedy
    refusal = await control.refused("start_channel", channel_id=channel_id)
    assert refusal.refusal is Refusal.PRECHECK_FAILED
    assert refusal.details[0]["name"] == "reachable"
    shutil.copyfile(RECORDING, file)
    view = await control.call("precheck_channel", channel_id=channel_id, wait=True)
    assert view.reason == "the precheck passed; it waits to be started"
    assert (await control.call("precheck_channel", channel_id=channel_id)).id == channel_id
    await control.prechecked(channel_id)
    assert (await control.call("start_channel", channel_id=channel_id)).id == channel_id


async def test_a_precheck_that_fails_by_a_mistake_of_ours_is_one_that_failed(
    control: Control, monkeypatch: pytest.MonkeyPatch
) -> None:
    channel_id = await control.create()

    async def mistaken() -> None:
        raise RuntimeError("boom")

    monkeypatch.setattr(control.served(channel_id), "precheck", mistaken)
    view = await control.call("precheck_channel", channel_id=channel_id, wait=True)
    assert "it failed by a mistake in Binwire (RuntimeError: boom)" in view.reason
    assert "start_channel" not in view.operations


@pytest.mark.parametrize(
    ("given", "field", "sentence"),
    [
        ({"region": "cn/hangzhou"}, "region", "region: found 'cn/hangzhou'; allowed is 1 to 100 letters"),
        ({"instance_id": "rm 1"}, "instance_id", "instance_id: found 'rm 1'; allowed is"),
        ({"name": "x" * 129}, "name", "allowed are 1 to 128 characters, none of them a control character"),
        ({"name": "two\nlines"}, "name", "allowed are 1 to 128 characters, none of them a control character"),
        ({"objects": []}, "objects", "objects: found []; allowed is a list of databases"),
        ({"objects": ["a.b.c"]}, "objects[0]", "'a.b.c' in objects is neither a database nor"),
        ({"data_types": []}, "data_types", 'data_types: found []; allowed is one or both of "dml" and "ddl"'),
        ({"start": "yesterday"}, "start", "start: found 'yesterday'; allowed is"),
        ({"retention": "1 fortnight"}, "retention", "retention: found '1 fortnight'; allowed is a duration"),
        ({"source": {"url": "oracle://u@h"}}, "source", "source: found oracle://…; allowed is"),
        ({"source": {"host": "h"}}, "source.username", "source.username: found nothing"),
        ({"source": {"url": "file:///x", "topic": "mine"}}, "source", "source: Object contains unknown field `topic`"),
        ({"topic": "mine"}, None, "unknown field `topic`; allowed are source, objects, name"),
    ],
)
async def test_what_cannot_be_is_refused_by_its_name(
    control: Control, given: dict[str, Any], field: str | None, sentence: str
) -> None:
    usual: dict[str, Any] = {"source": {"url": f"file://{RECORDING}"}, "objects": ["shop"]}
    refusal = await control.refused("create_channel", **(usual | given))
    assert (refusal.refusal, refusal.field) == (Refusal.INVALID, field)
    assert sentence in str(refusal)
    assert (await control.call("list_channels")).total == 0
    assert list((control.folder / "data" / "topics").iterdir()) == []
    assert control.app.catalog.releases() == []


async def test_an_instance_has_one_channel_of_an_account_in_a_region(control: Control) -> None:
    channel_id = await control.create(instance_id="rm-1", region="cn")
    refusal = await control.refused("create_channel", source=NO_FILE, objects=["shop"], instance_id="rm-1", region="cn")
    assert (refusal.refusal, refusal.field) == (Refusal.INVALID, "instance_id")
    assert f"channel {channel_id!r} has the data of the topic 'cn_rm-1_dtsacct_version2'" in str(refusal)
    await control.create(instance_id="rm-1", region="eu")


async def test_a_log_that_is_there_is_not_given_to_a_new_channel(control: Control) -> None:
    stranger = control.app.topic_path("cn_rm_dtsacct_version2")
    stranger.mkdir()
    refusal = await control.refused("create_channel", source=NO_FILE, objects=["a"], instance_id="rm", region="cn")
    assert refusal.field == "instance_id"
    assert stranger.exists()
    assert control.app.catalog.releases() == []


async def test_names_need_not_be_unique_and_can_be_changed(control: Control) -> None:
    one, two = await control.create(name="商店"), await control.create(name="商店")
    assert [view.name for view in (await control.call("list_channels")).channels] == ["商店", "商店"]
    assert (await control.call("rename_channel", channel_id=one, name="shop")).name == "shop"
    refusal = await control.refused("rename_channel", channel_id=two, name="")
    assert (refusal.refusal, refusal.field) == (Refusal.INVALID, "name")
    await control.app.close()
    async with Control(control.folder) as again:
        assert {(await again.show(each)).name for each in (one, two)} == {"shop", "商店"}


async def test_pages_regions_and_searches(control: Control) -> None:
    ids = [await control.create(name=f"number {number:03}", region=f"r{number % 2}") for number in range(100)]
    pages = [await control.call("list_channels", page=page, page_size=5) for page in range(1, 22)]
    assert [view.id for page in pages for view in page.channels] == ids
    assert {(page.total, page.page_size, page.regions) for page in pages} == {(100, 5, ("r0", "r1"))}
    assert pages[-1].channels == ()
    found = await control.call("list_channels", region="r1")
    assert (found.total, [view.id for view in found.channels]) == (50, ids[1:40:2])
    assert (await control.call("list_channels", region="r1", search="Number 09")).total == 5
    assert [view.id for view in (await control.call("list_channels", search=ids[7][5:])).channels] == [ids[7]]
    assert (await control.call("list_channels", search="no such name")).total == 0
    for name, value in (("page", 0), ("page_size", 0), ("page_size", 501)):
        assert (await control.refused("list_channels", **{name: value})).field == name


# ---- over a restart ----


async def test_channels_come_back_as_they_were(tmp_path: Path) -> None:
    async with Control(tmp_path) as control:
        started, waiting = await control.started(), await control.create()
        failed = await control.create(source=NO_FILE)
        before = await control.show(started)
    async with Control(tmp_path) as control:
        shown = [view.id for view in (await control.call("list_channels")).channels]
        assert shown == [started, waiting, failed]
        await control.served(started).channel.wait_ended()  # type: ignore[attr-defined]
        view = await control.show(started)
        assert view.high_watermark == before.high_watermark
        assert (view.topic, view.created_ms, view.objects) == (before.topic, before.created_ms, before.objects)
        assert "start_channel" in (await control.show(waiting)).operations
        view = await control.show(failed)
        assert view.reason is not None
        assert view.reason.startswith("the precheck failed: reachable")
        assert view.prechecked_ms is not None


async def test_a_precheck_that_was_cut_short_is_run_again_by_the_next_start(
    tmp_path: Path, looking: asyncio.Event
) -> None:
    async with Control(tmp_path) as control:
        view = await control.call("create_channel", source={"url": f"file://{RECORDING}"}, objects=["shop"])
        assert control.served(view.id).prechecking is not None
    async with Control(tmp_path) as control:
        assert (await control.show(view.id)).state == "Prechecking"
        looking.set()
        assert "start_channel" in (await control.prechecked(view.id)).operations


async def test_one_that_cannot_be_opened_keeps_no_other_from_being_served(tmp_path: Path) -> None:
    async with Control(tmp_path) as control:
        broken, whole = await control.started(), await control.started()
        folder = control.app.topic_path((await control.show(broken)).topic)
    shutil.rmtree(folder)
    folder.write_bytes(b"what is this")
    async with Control(tmp_path) as control:
        view = await control.show(broken)
        assert (view.state, view.defined_by, view.retried_until_ms) == ("Error", "operation", None)
        assert view.reason is not None
        assert "release the channel" in view.reason
        assert view.operations == ("preview_release", "release_channel")
        await control.served(whole).channel.wait_ended()  # type: ignore[attr-defined]
        assert (await control.show(whole)).state == "Normal"
        await control.call("release_channel", channel_id=broken, confirm=broken)
        assert not folder.exists()
    async with Control(tmp_path) as control:
        assert (await control.call("list_channels")).total == 1


async def test_a_document_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    async with Control(tmp_path) as control:
        channel_id = await control.create()
        [row] = control.app.catalog.documents()
        control.app.catalog.put_document(type(row)(row.channel_id, '{"id": 7}', 0, "not JSON", 1))
    async with Control(tmp_path) as control:
        view = await control.show(channel_id)
        assert view.reason is not None
        assert "what the catalog has of it cannot be read" in view.reason
        await control.call("release_channel", channel_id=channel_id, confirm=channel_id)
        assert (await control.call("list_channels")).total == 0


# ---- what the file defines ----


async def test_what_the_file_defines_is_changed_in_the_file(tmp_path: Path) -> None:
    async with Control(tmp_path, FILED) as control:
        await control.served("filed").channel.wait_ended()  # type: ignore[attr-defined]
        view = await control.show("filed")
        assert view.defined_by == "file"
        given: dict[str, dict[str, Any]] = {
            "start_channel": {},
            "rename_channel": {"name": "x"},
            "change_objects": {"objects": ["x"]},
            "change_source": {"source": {"url": f"file://{RECORDING}"}},
            "preview_release": {},
            "release_channel": {"confirm": "filed"},
        }
        for operation, arguments in given.items():
            assert operation not in view.operations
            refusal = await control.refused(operation, channel_id="filed", **arguments)
            assert refusal.refusal is Refusal.DEFINED_BY_FILE
            assert "binwire reload" in str(refusal)
        several = await control.call("release_channels", channel_ids=["filed"], confirm="release 1 channels")
        assert [each.refusal for each in several.channels] == [Refusal.DEFINED_BY_FILE]


async def test_what_a_release_deletes_is_told_by_what_it_takes_of_the_disk(control: Control) -> None:
    """And not by how large the file that is written to may become."""
    channel_id = await control.started()
    folder = control.app.topic_path((await control.show(channel_id)).topic)
    assert sum(file.stat().st_size for file in folder.iterdir()) >= 256 << 20
    occupied_bytes = sum(file.stat().st_blocks * 512 for file in folder.iterdir())
    preview = await control.call("preview_release", channel_id=channel_id)
    assert f" with all its data: {shown_bytes(occupied_bytes)}, offsets 0 to " in preview.goes[0]


@pytest.mark.parametrize(
    "source",
    [
        "mysql://repl:p%40ss@10.0.0.5:3307",
        "mariadb://r%40x@db.example.com:3306/?tls=verify_ca&tls_ca=%2Fetc%2Fca.pem",
        "polardb://r:p@a:3306,b:3307/?tls=required",
        "mysql://r:p@[::1]:3306",
    ],
)
def test_the_parts_of_a_source_lead_to_the_same_source(source: str) -> None:
    """But for the password, which they have not."""
    parts = source_parts(source)
    assert parts is not None
    assert "p%40ss" not in repr(parts)
    assert "p@ss" not in repr(parts)
    given = {name: value for name, value in asdict(parts).items() if value is not None}
    address = SourceArguments(**given).address().reveal()
    assert SourceAddress.parse(address) == replace(SourceAddress.parse(source), password="")


def test_files_have_no_parts() -> None:
    assert source_parts("file:///data/binlog.000001?follow=true") is None


async def test_files_that_moved_are_read_on_where_the_log_ends(control: Control, tmp_path: Path) -> None:
    """And files that cannot be read are refused."""
    channel_id = await control.started()
    end = control.served(channel_id).log.high_watermark
    elsewhere = tmp_path / RECORDING.name
    shutil.copy(RECORDING, elsewhere)
    refusal = await control.refused("change_source", channel_id=channel_id, source=NO_FILE)
    assert refusal.refusal is Refusal.PRECHECK_FAILED
    assert str(refusal).startswith(f"the source stays file://{RECORDING}: the precheck failed: reachable: ")
    changed = await control.call("change_source", channel_id=channel_id, source={"url": f"file://{elsewhere}"})
    assert changed.channel.source == f"file://{elsewhere}"
    await control.served(channel_id).channel.wait_ended()  # type: ignore[attr-defined]
    view = await control.show(channel_id)
    assert (view.state, view.high_watermark) == ("Normal", end)


@pytest.mark.parametrize("name", ["👩‍👩‍👧 family", "🏳️‍🌈", "订阅", "n" * 128])
async def test_a_name_is_any_text_as_a_groups_is(control: Control, name: str) -> None:
    channel_id = await control.create(name=name)
    assert (await control.show(channel_id)).name == name
    await control.call("rename_channel", channel_id=channel_id, name="another")
    assert (await control.call("rename_channel", channel_id=channel_id, name=name)).name == name
    assert allowed_name(name) is None


async def test_a_channel_that_left_the_file_is_shown_and_released(tmp_path: Path) -> None:
    async with Control(tmp_path, FILED) as control:
        await control.served("filed").channel.wait_ended()  # type: ignore[attr-defined]
        folder = control.app.topic_path("filed")
    async with Control(tmp_path) as control:
        view = await control.show("filed")
        assert (view.state, view.defined_by) == ("Not Started", "none")
        preview = await control.call("preview_release", channel_id="filed")
        assert any("the topic filed with all its data" in sentence for sentence in preview.goes)
        await control.call("release_channel", channel_id="filed", confirm="filed")
        assert not folder.exists()
        assert (await control.call("list_channels")).total == 0
        assert control.app.catalog.channels() == []


async def test_a_channel_that_the_file_takes_back_while_its_release_waits_is_kept(tmp_path: Path) -> None:
    async with Control(tmp_path, FILED) as control:
        served, app = control.served("filed"), control.app
        await served.channel.wait_ended()  # type: ignore[attr-defined]
        served.defined_by = DefinedBy.NONE
        async with app.changing:
            releasing = asyncio.create_task(control.refused("release_channel", channel_id="filed", confirm="filed"))
            for _ in range(100):
                await asyncio.sleep(0)  # until it waits for the lock that is held here
            assert served.changing.locked()
            served.defined_by = DefinedBy.FILE
        assert (await releasing).refusal is Refusal.DEFINED_BY_FILE
        assert app.topic_path("filed").exists()
        assert [row.id for row in app.catalog.channels()] == ["filed"]


async def test_what_is_committed_while_a_channel_is_released_goes_with_it(
    control: Control, monkeypatch: pytest.MonkeyPatch
) -> None:
    channel_id = await control.started()
    secret = "Secret-123"
    given = {"name": "g", "username": "u", "password": secret, "password_again": secret}
    group = await control.call("create_group", channel_id=channel_id, **given)
    app, topic, loop = control.app, control.served(channel_id).log.topic, asyncio.get_running_loop()
    release_channel, commits = app.catalog.release_channel, []

    def commit() -> None:
        commits.append(asyncio.ensure_future(app.offsets.commit(group.id, [(topic, 0, 7, "")])))

    def released(*arguments: str) -> None:
        release_channel(*arguments)
        loop.call_soon_threadsafe(commit)

    monkeypatch.setattr(app.catalog, "release_channel", released)
    await control.call("release_channel", channel_id=channel_id, confirm=channel_id)
    await asyncio.gather(*commits)
    assert commits
    assert await app.catalog.run(app.catalog.offsets) == []
    assert app.offsets.group_ids() == []


async def test_a_channel_that_leaves_the_file_runs_on_until_it_is_released(tmp_path: Path) -> None:
    async with Control(tmp_path, FILED) as control:
        control.channels.clear()
        assert "channel filed (gone)" in await control.app.reload()
        view = await control.show("filed")
        assert view.defined_by == "none"
        assert "change_objects" not in view.operations
        control.channels.append(FILED)
        await control.app.reload()
        assert (await control.show("filed")).defined_by == "file"
        control.channels.clear()
        await control.app.reload()
        await control.call("release_channel", channel_id="filed", confirm="filed")
        assert (await control.call("list_channels")).total == 0
        assert await control.app.reload()


async def test_the_file_brings_no_more_groups_than_a_channel_may_have(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("broker.app.GROUPS_PER_CHANNEL_MAX", 1)
    secret = "Secret-123"
    async with Control(tmp_path, FILED) as control:
        await control.served("filed").channel.wait_ended()  # type: ignore[attr-defined]
        given = {"username": "u", "password": secret, "password_again": secret}
        made = await control.call("create_group", channel_id="filed", name="made", **given)
        filed = {"name": "filed", "username": "f", "password": secret}
        control.channels[:] = [FILED | {"groups": [filed]}]
        refusal = await control.refused("reload")
        assert "found 2 with those that operations made (1); allowed are at most 1" in str(refusal)
        groups = (await control.call("list_groups", channel_id="filed")).groups
        assert [group.id for group in groups] == [made.id], "nothing is changed then"
        control.channels[:] = [FILED | {"groups": [filed | {"name": "made"}]}]
        await control.app.reload()
        groups = (await control.call("list_groups", channel_id="filed")).groups
        assert [(group.id, group.defined_by) for group in groups] == [(made.id, "file")]


async def test_the_file_takes_a_channel_over_that_it_names(tmp_path: Path) -> None:
    async with Control(tmp_path) as control:
        channel_id = await control.started()
        view = await control.show(channel_id)
    async with Control(tmp_path, FILED | {"id": channel_id, "topic": view.topic}) as control:
        assert (await control.show(channel_id)).defined_by == "file"
        assert control.app.catalog.documents() == []


# ---- releasing ----


async def test_of_a_released_channel_nothing_is_left(control: Control) -> None:
    channel_id, other = await control.started(), await control.started()
    topic = (await control.show(channel_id)).topic
    group = await control.call("create_group", channel_id=channel_id, **GROUP)
    await control.app.offsets.commit(group.id, [(topic, 0, 3, "")])
    preview = await control.call("preview_release", channel_id=channel_id)
    assert preview.confirm == channel_id
    assert any(topic in sentence for sentence in preview.goes)
    assert any(group.id in sentence for sentence in preview.goes)
    assert (await control.refused("release_channel", channel_id=channel_id, confirm="yes")).field == "confirm"
    login = f"{GROUP['username']}-{group.id}", GROUP["password"]
    async with RawClient(control.app.addresses["public"]) as client:
        await client.log_in(*login)
        found = await client.ask(MetadataRequest(topics=[topic]), 1, MetadataResponse)
        assert [(each.topic, each.error_code) for each in found.topic_metadata] == [(topic, 0)]
        released = await control.call("release_channel", channel_id=channel_id, confirm=channel_id)
        assert released.refusal is None
        await client.expect_close()
    catalog = control.app.catalog
    assert [row.id for row in catalog.channels()] == [other]
    assert [row.channel_id for row in catalog.documents()] == [other]
    assert [*catalog.groups(), *catalog.offsets(), *catalog.schema_versions(channel_id), *catalog.releases()] == []
    assert [path.name for path in (control.folder / "data" / "topics").iterdir()] == [
        f"{(await control.show(other)).topic}-0"
    ]
    assert control.app.offsets.committed(group.id) == {}
    assert control.app._accounts.group_ids == set()
    for operation in ("show_channel", "preview_release", "start_channel"):
        assert (await control.refused(operation, channel_id=channel_id)).refusal is Refusal.NOT_FOUND


async def test_a_fetch_that_waits_is_cut_with_its_channel_and_nothing_goes_wrong(
    control: Control, caplog: pytest.LogCaptureFixture
) -> None:
    channel_id = await control.started()
    view = await control.show(channel_id)
    group = await control.call("create_group", channel_id=channel_id, **GROUP)
    waiting = FetchPartition(partition=0, fetch_offset=view.high_watermark, max_bytes=1 << 20)
    async with (
        RawClient(control.app.addresses["public"]) as client,
        RawClient(control.app.addresses["public"]) as other,
    ):
        for one in (client, other):
            await one.log_in(f"{GROUP['username']}-{group.id}", GROUP["password"])
        topics = [FetchTopic(topic=view.topic, partitions=[waiting])]
        client.send(FetchRequest(max_wait_time=300_000, min_bytes=1, topics=topics), 4)
        # Answered behind the fetch of the other connection, which waits by then.
        await other.ask(MetadataRequest(topics=[view.topic]), 1, MetadataResponse)
        await control.call("release_channel", channel_id=channel_id, confirm=channel_id)
        assert await client.expect_close() == b""
        await other.expect_close()
    await control.app.close()
    assert [record.getMessage() for record in caplog.records if record.levelname == "ERROR"] == []


async def test_several_are_released_each_for_itself(control: Control) -> None:
    one, two = await control.create(), await control.started()
    assert (await control.refused("release_channels", channel_ids=[one, two], confirm="yes")).field == "confirm"
    assert (await control.refused("release_channels", channel_ids=[])).field == "channel_ids"
    found = await control.call("release_channels", channel_ids=[one, "none", two], confirm="release 3 channels")
    assert [each.refusal for each in found.channels] == [None, Refusal.NOT_FOUND, None]
    assert (await control.call("list_channels")).total == 0


async def test_the_same_topic_can_be_made_again(control: Control) -> None:
    for _ in range(2):
        channel_id = await control.started(instance_id="rm", region="cn")
        assert (await control.show(channel_id)).high_watermark > 0
        await control.call("release_channel", channel_id=channel_id, confirm=channel_id)


async def test_a_release_that_the_catalog_refuses_leaves_the_channel(
    control: Control, monkeypatch: pytest.MonkeyPatch
) -> None:
    channel_id = await control.started()
    topic = (await control.show(channel_id)).topic

    def refuse(*_: object) -> None:
        raise StorageError("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(control.app.catalog, "release_channel", refuse)
        refusal = await control.refused("release_channel", channel_id=channel_id, confirm=channel_id)
    assert (refusal.refusal, str(refusal)) == (Refusal.STORAGE_UNAVAILABLE, "the disk is full")
    assert [each.name for each in control.app._broker.topics] == [topic]
    assert (await control.show(channel_id)).high_watermark > 0
    assert await control.outcome("release_channel", channel_id=channel_id, confirm=channel_id) is None


async def test_a_log_that_cannot_be_deleted_goes_with_the_next_start(
    control: Control, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    channel_id = await control.started(instance_id="rm", region="cn")

    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as patch:
        patch.setattr("broker.managed._delete_folder", refuse)
        refusal = await control.refused("release_channel", channel_id=channel_id, confirm=channel_id)
        assert "could not be deleted (Permission denied)" in str(refusal)
        assert (await control.call("list_channels")).total == 0
        again = await control.refused("create_channel", source=NO_FILE, objects=["a"], instance_id="rm", region="cn")
        assert again.refusal is Refusal.INVALID
        await control.app.close()
        async with Control(tmp_path) as failing:
            assert failing.app.catalog.releases() == ["cn_rm_dtsacct_version2"]
    async with Control(tmp_path) as control:
        assert control.app.catalog.releases() == []
        assert list((tmp_path / "data" / "topics").iterdir()) == []


# ---- at the same time ----


async def test_of_parallel_changes_each_finds_what_the_one_before_left(control: Control) -> None:
    channel_id = await control.create()
    starts = await asyncio.gather(*(control.outcome("start_channel", channel_id=channel_id) for _ in range(5)))
    assert sorted(map(str, starts)) == ["None", *["not_allowed_now"] * 4]
    releases = await asyncio.gather(
        *(control.outcome("release_channel", channel_id=channel_id, confirm=channel_id) for _ in range(5))
    )
    assert sorted(map(str, releases)) == ["None", *["not_found"] * 4]


async def test_a_release_during_the_precheck_ends_that(control: Control, looking: asyncio.Event) -> None:
    view = await control.call("create_channel", source={"url": f"file://{RECORDING}"}, objects=["shop"])
    assert view.state == "Prechecking"
    await control.call("release_channel", channel_id=view.id, confirm=view.id)
    assert (await control.call("list_channels")).total == 0
    assert control.app.catalog.documents() == []


async def test_the_file_is_read_again_while_channels_come_and_go(tmp_path: Path) -> None:
    async with Control(tmp_path, FILED) as control:

        async def come_and_go() -> None:
            channel_id = await control.started()
            await control.call("create_group", channel_id=channel_id, **GROUP)
            await control.call("release_channel", channel_id=channel_id, confirm=channel_id)

        async def read_again() -> None:
            for _ in range(10):
                await control.app.reload()

        await asyncio.gather(come_and_go(), come_and_go(), come_and_go(), read_again())
        assert [view.id for view in (await control.call("list_channels")).channels] == ["filed"]
        assert [row.id for row in control.app.catalog.channels()] == ["filed"]
        assert control.app.catalog.groups() == []


async def test_a_change_goes_on_though_nobody_waits_for_it(control: Control) -> None:
    channel_id = await control.started()
    served = control.served(channel_id)
    calling = asyncio.create_task(control.call("release_channel", channel_id=channel_id, confirm=channel_id))
    async with served.changing:  # it waits for this
        await asyncio.sleep(0)
        calling.cancel()
        await asyncio.wait([calling])
    assert calling.cancelled()
    [change] = _running
    await change
    assert (await control.call("list_channels")).total == 0
    assert control.app.catalog.channels() == []


async def test_a_server_that_ends_brings_a_release_to_its_end(tmp_path: Path) -> None:
    async with Control(tmp_path) as control:
        channel_id = await control.started()
        releasing = asyncio.create_task(control.call("release_channel", channel_id=channel_id, confirm=channel_id))
        while not control.app.changing.locked():  # noqa: ASYNC110 — nobody tells that it was taken
            await asyncio.sleep(0)
    assert (await releasing).refusal is None
    async with Control(tmp_path) as control:
        assert (await control.call("list_channels")).total == 0
        assert control.app.catalog.releases() == []


async def test_a_channel_that_ended_for_good_is_not_started_by_a_change_under_way(control: Control) -> None:
    channel_id = await control.started()
    served = control.served(channel_id)
    await served.stop()
    await served.channel.take_objects(("other",))
    await served.channel.start()
    assert not served.channel.is_running


async def test_a_host_that_cannot_be_one_keeps_nothing_from_being_released(control: Control) -> None:
    channel_id = await control.create(source={"host": "x" * 70, "username": "u"})
    view = await control.show(channel_id)
    assert view.reason is not None
    assert view.reason.startswith("the precheck failed: reachable: ")
    await control.call("release_channel", channel_id=channel_id, confirm=channel_id)


# ---- passwords ----


@pytest.mark.parametrize(
    ("source", "shown", "password"),
    [
        ("mysql://u:p%40ss@h:3306/?tls=required", "mysql://u@h:3306/?tls=required", "p%40ss"),
        ("mariadb://u:p@a:1,b:2", "mariadb://u@a:1,b:2", "p"),
        ("mysql://u:a@b:c@h", "mysql://u@h", "a@b:c"),
        ("mysql://u:@h", "mysql://u@h", ""),
        ("mysql://u@h", "mysql://u@h", None),
        ("file:///a@b:c/x.000001", "file:///a@b:c/x.000001", None),
    ],
)
def test_a_password_is_taken_out_of_an_address_and_put_back(source: str, shown: str, password: str | None) -> None:
    assert split_password(source) == (shown, password)
    assert join_password(shown, password) == source


async def test_a_sources_password_is_shown_nowhere_and_used_again(tmp_path: Path) -> None:
    source = {"kind": "mysql", "host": "127.0.0.1", "port": 1, "username": "u", "password": "Top:s3cret@1"}
    async with Control(tmp_path) as control:
        channel_id = await control.create(source=source)
        view = await control.show(channel_id)
        assert view.source == "mysql://u@127.0.0.1:1"
        assert view.name == "shop at 127.0.0.1:1"
        preview = await control.call("preview_release", channel_id=channel_id)
        [row] = control.app.catalog.documents()
        for text in (repr(view), repr(preview), row.document, repr(control.served(channel_id).config)):
            assert "s3cret" not in text
    async with Control(tmp_path) as control:
        config = control.served(channel_id).config
        assert config is not None
        assert config.source == Secret("mysql://u:Top%3As3cret%401@127.0.0.1:1")
