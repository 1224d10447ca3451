"""Consumer groups made, changed and deleted by operations on a running server: rules, effect at once, what is kept."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from broker.apis.join_group import GroupProtocol, JoinGroupRequest, JoinGroupResponse
from broker.apis.offset_commit import (
    OffsetCommitPartition,
    OffsetCommitRequest,
    OffsetCommitResponse,
    OffsetCommitTopic,
)
from broker.app import Application
from broker.config import load
from broker.operations.operation import Caller, OperationError, Refusal, builtins, call
from broker.operations.table import BY_NAME
from storage.catalog import Catalog
from storage.catalog_failures import unavailable
from tests.broker.raw_client import RawClient
from tests.broker.test_reload import HEAD, Running, group, lives

pytestmark = pytest.mark.timeout(60)

PASSWORD, OTHER = "Secret-123", "Changed-456"
NEW = {"channel_id": "shop", "name": "analytics", "username": "dtstest", "password": PASSWORD}


@pytest.fixture
async def run(tmp_path: Path) -> AsyncIterator[Running]:
    running = Running(tmp_path)
    await started(running)
    yield running
    await running.app.close()


async def started(run: Running) -> None:
    """Start, and wait until the channel, whose source is not there, stands still: groups can be changed from then."""
    await run.app.start()
    [served] = run.app.channels
    settled = asyncio.Event()
    end = served.channel.subscribe(lambda: settled.set() if served.channel.status().reason is not None else None)
    if served.channel.status().reason is None:
        await settled.wait()
    end()


async def operate(run: Running, operation: str, /, **arguments: Any) -> Any:
    return await call(run.app.plane, BY_NAME[operation], arguments, Caller("me", "command", "here"))


async def create(run: Running, **arguments: Any) -> Any:
    given = {**NEW, **arguments}
    return await operate(run, "create_group", **{"password_again": given["password"], **given})


async def refusal(run: Running, operation: str, /, **arguments: Any) -> OperationError:
    with pytest.raises(OperationError) as caught:
        await (create(run, **arguments) if operation == "create_group" else operate(run, operation, **arguments))
    return caught.value


async def logs_in(run: Running, login: str, password: str = PASSWORD) -> bool:
    async with run.client() as client:
        await client.handshake(1)
        client.send_token(1, login, password)
        return b"Invalid username or password" not in await client.read_frame()


async def connected(run: Running, login: str, password: str = PASSWORD) -> RawClient:
    client = await run.client().__aenter__()
    await client.log_in(login, password)
    return client


async def commit(client: RawClient, group_id: str, offset: int) -> int:
    partition = OffsetCommitPartition(partition=0, offset=offset)
    request = OffsetCommitRequest(group_id=group_id, topics=[OffsetCommitTopic(topic="shop", partitions=[partition])])
    answer = await client.ask(request, 2, OffsetCommitResponse)
    return answer.responses[0].partition_responses[0].error_code


def everything_stored(folder: Path, beside: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file() and path != beside)


def offsets(run: Running) -> list[tuple[str, int]]:
    return [(row.group_id, row.offset) for row in run.app.catalog.offsets()]


# Create


async def test_a_created_group_logs_in_at_once_and_after_a_restart(run: Running) -> None:
    made = await create(run)
    assert made.id.startswith("dts")
    assert len(made.id) == 18
    assert (made.name, made.username, made.defined_by, made.remaining, made.delay_s) == (
        "analytics",
        "dtstest",
        "operation",
        -1,
        -1,
    )
    client = await connected(run, f"dtstest-{made.id}")
    assert await lives(client)
    assert await commit(client, made.id, 3) == 0
    await client.__aexit__(None, None, None)
    assert not await logs_in(run, f"dtstest-{made.id}", OTHER)
    await run.app.close()
    run.app = Application(load(run.file), read_again=lambda: load(run.file))
    await started(run)
    assert await logs_in(run, f"dtstest-{made.id}")
    assert not await logs_in(run, f"dtstest-{made.id}", OTHER)
    shown = await operate(run, "list_groups", channel_id="shop")
    assert [(each.id, each.offset, each.defined_by) for each in shown.groups] == [
        ("dtsa", None, "file"),
        ("dtsb", None, "file"),
        (made.id, 3, "operation"),
    ]
    assert shown.groups_max == 20


async def test_nothing_of_a_password_is_kept_or_shown(run: Running, tmp_path: Path) -> None:
    made = await create(run)
    shown = await operate(run, "list_groups", channel_id="shop")
    told = json.dumps(builtins(shown)) + repr(run.app.catalog.groups()) + repr(made)
    assert PASSWORD not in told
    assert "scrypt" not in told
    assert PASSWORD.encode() not in everything_stored(tmp_path, run.file)


@pytest.mark.parametrize(
    ("arguments", "field", "told"),
    [
        ({"name": ""}, "name", "1 to 128 characters"),
        ({"name": "n" * 129}, "name", "1 to 128 characters"),
        ({"name": "a\nb"}, "name", "control character"),
        ({"username": "dts-test"}, "username", "1 to 16 letters, digits or underscores"),
        ({"username": "u" * 17}, "username", "1 to 16"),
        ({"password": "short1"}, "password", "a password of 6 characters"),
        ({"password": "lowercase"}, "password", "1 kind of character"),
        ({"password_again": "Secret-124"}, "password_again", "the two passwords differ"),
        ({"name": "a"}, "name", "has a group of this name"),
        ({"channel_id": "nothing"}, None, "no channel 'nothing'"),
    ],
)
async def test_what_breaks_a_rule_is_refused_and_names_its_argument(
    run: Running, arguments: dict[str, str], field: str | None, told: str
) -> None:
    error = await refusal(run, "create_group", **arguments)
    assert (error.field, error.refusal) == (
        field,
        Refusal.NOT_FOUND if field is None else Refusal.INVALID,
    )
    assert told in str(error)
    assert not any(arguments.get(key, "\0") in str(error) for key in ("password", "password_again"))
    assert len(run.app.catalog.groups()) == 2


async def test_a_refusal_repeats_no_more_than_can_be_read(run: Running) -> None:
    error = await refusal(run, "create_group", name="n" * 100_000)
    assert "and more, 100000 characters" in str(error)
    assert len(str(error)) < 300


async def test_of_a_channel_whose_data_alone_is_left_there_are_no_groups(run: Running) -> None:
    await run.app.close()
    run.file.write_text(HEAD, "utf-8")
    run.app = Application(load(run.file), read_again=lambda: load(run.file))
    await run.app.start()
    error = await refusal(run, "list_groups", channel_id="shop")
    assert error.refusal is Refusal.NOT_ALLOWED_NOW
    assert "only data is left" in str(error)
    assert (await refusal(run, "create_group")).refusal is Refusal.NOT_ALLOWED_NOW
    assert (await refusal(run, "list_groups", channel_id="nothing")).refusal is Refusal.NOT_FOUND


async def test_a_channel_has_at_most_20_groups(run: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("broker.accounts.SCRYPT_LOG2_N", 2)
    for number in range(18):
        await create(run, name=f"group {number}")
    error = await refusal(run, "create_group", name="one more")
    assert error.refusal is Refusal.LIMIT_REACHED
    assert "20 consumer groups" in str(error)
    groups = (await operate(run, "list_groups", channel_id="shop")).groups
    await operate(run, "delete_group", channel_id="shop", group_id=groups[-1].id, confirm=groups[-1].id)
    await create(run, name="one more")


async def test_names_that_are_made_at_once_are_made_once(run: Running) -> None:
    results = await asyncio.gather(*(create(run) for _ in range(4)), return_exceptions=True)
    assert sorted(isinstance(each, OperationError) for each in results) == [False, True, True, True]


# Passwords


async def test_a_changed_password_is_in_force_at_once_and_cuts_who_is_connected(run: Running) -> None:
    made = await create(run)
    concerned, other = await connected(run, f"dtstest-{made.id}"), await connected(run, "dtstest-dtsa")
    done = await operate(
        run,
        "change_password",
        channel_id="shop",
        group_id=made.id,
        old_password=PASSWORD,
        password=OTHER,
        password_again=OTHER,
    )
    assert "connections cut: 1" in done.message
    assert await concerned.expect_close() == b""
    assert await lives(other)
    assert not await logs_in(run, f"dtstest-{made.id}")
    client = await connected(run, f"dtstest-{made.id}", OTHER)
    assert await lives(client)
    for each in (client, other, concerned):
        await each.__aexit__(None, None, None)


@pytest.mark.parametrize(
    ("arguments", "refused_as", "field"),
    [
        ({"old_password": "Wrong-123"}, Refusal.INVALID, "old_password"),
        ({"password": "weak"}, Refusal.INVALID, "password"),
        ({"password_again": "Other-456"}, Refusal.INVALID, "password_again"),
        ({"group_id": "dtsnobody"}, Refusal.NOT_FOUND, "group_id"),
        ({"group_id": "dtsa"}, Refusal.DEFINED_BY_FILE, None),
    ],
)
async def test_a_password_that_cannot_be_changed_holds(
    run: Running, arguments: dict[str, str], refused_as: Refusal, field: str | None
) -> None:
    made = await create(run)
    given = {"group_id": made.id, "old_password": PASSWORD, "password": OTHER, "password_again": OTHER, **arguments}
    error = await refusal(run, "change_password", channel_id="shop", **given)
    assert (error.refusal, error.field) == (refused_as, field)
    assert await logs_in(run, f"dtstest-{made.id}")
    assert await logs_in(run, "dtstest-dtsa")


# Delete


async def test_a_deleted_group_is_cleared_for_good(run: Running) -> None:
    made = await create(run)
    client = await connected(run, f"dtstest-{made.id}")
    member = await client.ask(
        JoinGroupRequest(
            group_id=made.id,
            session_timeout=10_000,
            rebalance_timeout=60_000,
            member_id="",
            protocol_type="consumer",
            group_protocols=[GroupProtocol(protocol_name="range", protocol_metadata=b"")],
        ),
        2,
        JoinGroupResponse,
    )
    assert member.error_code == 0
    other = await connected(run, "dtstest-dtsa")
    assert await commit(other, "dtsa", 5) == 0
    error = await refusal(run, "delete_group", channel_id="shop", group_id=made.id, confirm="analytics")
    assert (error.refusal, error.field) == (Refusal.INVALID, "confirm")
    assert await lives(client)
    done = await operate(run, "delete_group", channel_id="shop", group_id=made.id, confirm=made.id)
    assert "for good" in done.message
    assert "connections cut: 1" in done.message
    assert await client.expect_close() == b""
    assert not await logs_in(run, f"dtstest-{made.id}")
    assert offsets(run) == [("dtsa", 5)]
    assert [row.id for row in run.app.catalog.groups()] == ["dtsa", "dtsb"]
    assert await lives(other)
    gone = await refusal(run, "delete_group", channel_id="shop", group_id=made.id, confirm=made.id)
    assert gone.refusal is Refusal.NOT_FOUND
    again = await create(run)
    assert again.id != made.id
    for each in (client, other):
        await each.__aexit__(None, None, None)


async def test_a_commit_under_way_does_not_outlive_its_group(run: Running) -> None:
    made = await create(run)
    client = await connected(run, f"dtstest-{made.id}")
    committing = asyncio.create_task(commit(client, made.id, 9))
    await asyncio.sleep(0)
    await operate(run, "delete_group", channel_id="shop", group_id=made.id, confirm=made.id)
    await asyncio.gather(committing, return_exceptions=True)
    assert offsets(run) == []
    await client.__aexit__(None, None, None)


async def test_a_group_of_the_file_is_changed_there(run: Running) -> None:
    error = await refusal(run, "delete_group", channel_id="shop", group_id="dtsa", confirm="dtsa")
    assert error.refusal is Refusal.DEFINED_BY_FILE
    assert "binwire reload" in str(error)
    assert await logs_in(run, "dtstest-dtsa")


async def test_a_group_that_left_the_file_can_be_deleted_and_nothing_else(run: Running) -> None:
    run.write(group("b"))
    await run.app.reload()
    shown = await operate(run, "list_groups", channel_id="shop")
    assert [(each.id, each.defined_by) for each in shown.groups] == [("dtsb", "file"), ("dtsa", "none")]
    change = {"old_password": PASSWORD, "password": OTHER, "password_again": OTHER}
    error = await refusal(run, "change_password", channel_id="shop", group_id="dtsa", **change)
    assert error.refusal is Refusal.NOT_ALLOWED_NOW
    await operate(run, "delete_group", channel_id="shop", group_id="dtsa", confirm="dtsa")
    assert [row.id for row in run.app.catalog.groups()] == ["dtsb"]


# Beside the file


async def test_a_file_that_is_read_again_leaves_made_groups_alone(run: Running) -> None:
    made = await create(run)
    client = await connected(run, f"dtstest-{made.id}")
    run.write(group("a", OTHER), group("c"))
    told = await run.app.reload()
    assert told == "groups: added dtsc; removed dtsb; login changed of dtsa; connections cut: 0"
    assert await lives(client)
    assert await logs_in(run, f"dtstest-{made.id}")
    await client.__aexit__(None, None, None)


async def test_a_file_that_has_a_group_of_the_name_takes_it_over(run: Running) -> None:
    made = await create(run)
    client = await connected(run, f"dtstest-{made.id}")
    named = f'[[channels.groups]]\nname = "analytics"\nusername = "dtstest"\npassword = "{OTHER}"\n'
    run.write(group("a"), group("b"), named)
    await run.app.reload()
    assert await client.expect_close() == b""
    assert await logs_in(run, f"dtstest-{made.id}", OTHER)
    assert not await logs_in(run, f"dtstest-{made.id}")
    assert {row.verifier for row in run.app.catalog.groups()} == {None}
    await client.__aexit__(None, None, None)


# Failures


@pytest.mark.parametrize("method", ["put_group", "delete_group"])
async def test_what_cannot_be_stored_changes_nothing(
    run: Running, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    made = await create(run)
    client = await connected(run, f"dtstest-{made.id}")

    def full(self: Catalog, *arguments: object) -> None:
        raise unavailable(self.path, "written", "the disk is full")

    monkeypatch.setattr(Catalog, method, full)
    if method == "put_group":
        error = await refusal(run, "create_group", name="another")
        change = {"old_password": PASSWORD, "password": OTHER, "password_again": OTHER}
        second = await refusal(run, "change_password", channel_id="shop", group_id=made.id, **change)
        assert second.refusal is Refusal.STORAGE_UNAVAILABLE
    else:
        error = await refusal(run, "delete_group", channel_id="shop", group_id=made.id, confirm=made.id)
    assert error.refusal is Refusal.STORAGE_UNAVAILABLE
    assert await lives(client)
    assert await logs_in(run, f"dtstest-{made.id}")
    shown = await operate(run, "list_groups", channel_id="shop")
    assert [each.id for each in shown.groups] == ["dtsa", "dtsb", made.id]
    await client.__aexit__(None, None, None)


async def test_a_verifier_that_cannot_be_read_costs_its_group_and_nobody_else(
    run: Running, caplog: pytest.LogCaptureFixture
) -> None:
    made = await create(run)
    [row] = [row for row in run.app.catalog.groups() if row.id == made.id]
    await run.app.close()
    catalog = Catalog.open(run.app.catalog.path)
    catalog.put_group(type(row)(row.id, row.channel_id, row.name, row.username, "damaged"))
    catalog.close()
    run.app = Application(load(run.file), read_again=lambda: load(run.file))
    await started(run)
    assert f"the login of group {made.id} in the catalog cannot be read" in caplog.text
    assert await logs_in(run, "dtstest-dtsa")
    await operate(run, "delete_group", channel_id="shop", group_id=made.id, confirm=made.id)


async def test_the_schema_is_captures_own(run: Running) -> None:
    schema = await operate(run, "show_schema")
    own = Path(__file__).parents[2] / "capture" / "record.avsc"
    assert schema == json.loads(own.read_text("utf-8"))


# Samples


async def test_samples_are_filled_with_the_channels_values(run: Running) -> None:
    made = await create(run, name='</script>"; import os #')
    languages = await operate(run, "list_samples", channel_id="shop")
    assert [each.id for each in languages] == [
        "java",
        "java-dts",
        "python",
        "go",
        "node",
        "c",
        "ruby",
        "dotnet",
        "kcat",
    ]
    for language in languages:
        shown = await operate(run, "show_sample", channel_id="shop", language=language.id, group_id=made.id)
        assert str(run.app.addresses["public"]) in shown.text
        assert made.id in shown.text
        assert shown.placeholder in shown.text
        assert "</script>" not in shown.text
    first = await operate(run, "show_sample", channel_id="shop", language="python")
    assert '"dtstest-dtsa"' in first.text


@pytest.mark.parametrize(
    ("arguments", "refused_as", "told"),
    [
        ({"language": "cobol"}, Refusal.INVALID, "allowed are java, java-dts, python"),
        ({"listener": "nothing"}, Refusal.INVALID, "allowed are public"),
        ({"group_id": "nothing"}, Refusal.NOT_FOUND, "has no group 'nothing'"),
        ({"channel_id": "nothing"}, Refusal.NOT_FOUND, "no channel 'nothing'"),
    ],
)
async def test_a_sample_that_there_is_not(
    run: Running, arguments: dict[str, str], refused_as: Refusal, told: str
) -> None:
    error = await refusal(run, "show_sample", **{"channel_id": "shop", "language": "python", **arguments})
    assert error.refusal is refused_as
    assert told in str(error)
