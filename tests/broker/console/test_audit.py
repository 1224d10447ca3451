"""The log of changes: what is in it, what never is, its bounds, and what a crash leaves."""

from __future__ import annotations

import errno
import logging
import os
import stat
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from broker.config import Secret
from broker.console import audit as audit_module
from broker.console.audit import AuditEntry, AuditLog, shown
from broker.operations.operation import Caller, NoArguments, OperationError, Refusal, call
from broker.operations.table import BY_NAME
from storage.directory import audit_paths
from storage.errors import StorageError
from tests.broker.console.served_console import Console
from tests.fakes import ManualClock

CALLER = Caller("token 1", "api", "192.0.2.7")


class Target(msgspec.Struct):
    """An inner part of arguments."""

    address: str
    key: Secret


class Arguments(msgspec.Struct):
    """What an operation may take."""

    password: Secret
    url: str
    note: str = ""
    names: tuple[str, ...] = ()
    targets: tuple[Target, ...] = ()
    nothing: str | None = None


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def audit(tmp_path: Path, clock: ManualClock) -> AuditLog:
    return AuditLog(tmp_path, clock)


async def note(audit: AuditLog, operation: str, refusal: OperationError | None = None) -> None:
    await audit.note(operation, NoArguments(), CALLER, refusal)


async def operations(audit: AuditLog, **asked: Any) -> list[str]:
    return [each.operation for each in await audit.read(**({"before_id": None, "search": "", "limit": 100} | asked))]


async def test_an_entry_says_who_asked_for_what_and_what_came_of_it(audit: AuditLog, clock: ManualClock) -> None:
    await note(audit, "reload")
    clock.advance(5)
    await note(audit, "delete_group", OperationError(Refusal.NOT_FOUND, "there is no group x"))
    refused, done = await audit.read(None, "", 10)
    assert done == AuditEntry(1, clock.now_ms() - 5, *("token 1", "api", "192.0.2.7"), "reload", {}, "done")
    assert (refused.id, refused.outcome, refused.refusal) == (2, "refused", "not_found")
    assert refused.sentence == "there is no group x"


async def test_what_failed_by_a_mistake_was_not_done(audit: AuditLog) -> None:
    async def fail(*_: Any) -> None:
        raise ZeroDivisionError("of hunter2")

    plane: Any = SimpleNamespace(audit=audit)
    with pytest.raises(ZeroDivisionError):
        await call(plane, msgspec.structs.replace(BY_NAME["reload"], handler=fail), {}, CALLER)
    [entry] = await audit.read(None, "", 100)
    assert (entry.operation, entry.outcome, entry.refusal) == ("reload", "refused", "failed")
    assert entry.sentence == "it failed by a mistake in Binwire (ZeroDivisionError)"


def test_nothing_that_is_or_may_be_a_secret_is_in_it() -> None:
    secret = Secret("hidden-1")
    arguments = Arguments(
        password=secret,
        url="mysql://user:hidden-2@db.example:3306/shop?password=hidden-3#hidden-4",
        names=("https://hooks.example/services/hidden-5",),
        targets=(Target("http://x:hidden-6@mail.example", secret),),
    )
    found = shown(arguments)
    assert "hidden" not in str(found)
    assert found["url"] == "mysql://db.example:3306"
    assert found["names"] == ["https://hooks.example"]
    assert found["targets"] == [{"address": "http://mail.example", "key": "not shown"}]
    assert "nothing" not in found


def test_long_arguments_are_cut() -> None:
    found = shown(Arguments(Secret(""), "", note="n" * 5_000, names=tuple(f"t{number}" for number in range(500))))
    assert found["note"].startswith("nnn")
    assert found["note"].endswith("… (5000 characters)")
    assert found["names"][-2:] == ["t19", "… (500 in all)"]


async def test_it_is_private(audit: AuditLog, tmp_path: Path) -> None:
    await note(audit, "reload")
    assert stat.S_IMODE((tmp_path / "audit.jsonl").stat().st_mode) == 0o600


async def test_it_is_bounded_and_the_newest_stay(
    audit: AuditLog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit_module, "FILE_BYTES_MAX", 500)
    for number in range(40):
        await note(audit, f"operation_{number}")
    sizes = {file.name: file.stat().st_size for file in audit_paths(tmp_path)}
    assert {*sizes} | {"audit.jsonl"} == {"audit.1.jsonl", "audit.2.jsonl", "audit.3.jsonl", "audit.jsonl"}
    assert sum(sizes.values()) < 4 * 700
    found = await operations(audit)
    assert found == [f"operation_{number}" for number in range(39, 39 - len(found), -1)]
    assert len(found) >= 9


async def test_ids_grow_over_restarts_and_pages_meet_without_a_gap(
    audit: AuditLog, tmp_path: Path, clock: ManualClock
) -> None:
    for number in range(5):
        await note(audit, f"operation_{number}")
    again = AuditLog(tmp_path, clock)
    await note(again, "operation_5")
    first = await again.read(None, "", 4)
    second = await again.read(first[-1].id, "", 4)
    assert [entry.id for entry in (*first, *second)] == [6, 5, 4, 3, 2, 1]


async def test_it_can_be_searched(audit: AuditLog) -> None:
    await note(audit, "reload")
    await note(audit, "create_group", OperationError(Refusal.INVALID, "Straße"))
    assert await operations(audit, search="STRASSE") == ["create_group"]
    assert await operations(audit, search="192.0.2.7") == ["create_group", "reload"]
    assert await operations(audit, search="nobody") == []


async def test_half_a_line_of_a_crash_spoils_no_other(audit: AuditLog, tmp_path: Path, clock: ManualClock) -> None:
    await note(audit, "before")
    file = tmp_path / "audit.jsonl"
    whole = file.read_bytes()
    for length in range(1, len(whole)):
        file.write_bytes(whole + whole[:length].replace(b"\n", b""))
        log = AuditLog(tmp_path, clock)
        await note(log, "after")
        assert (await operations(log))[0] == "after"
        assert (await operations(log))[-1] == "before"


async def test_that_it_cannot_be_written_is_told_and_undoes_nothing(
    audit: AuditLog, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "audit.jsonl").mkdir()
    with caplog.at_level(logging.ERROR, "binwire.audit"):
        await note(audit, "reload")
    [record] = caplog.records
    assert "cannot be written (Is a directory)" in record.getMessage()
    assert '"operation":"reload"' in record.getMessage()


async def test_a_disk_that_fills_within_a_line_leaves_nothing_of_it_and_it_is_told(
    audit: AuditLog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    await note(audit, "before")
    with monkeypatch.context() as patch:
        written: list[int] = []

        def write(descriptor: int, content: memoryview) -> int:
            if written:
                raise OSError(errno.ENOSPC, "No space left on device")
            written.append(os_write(descriptor, content[:20]))
            return written[0]

        os_write = os.write
        patch.setattr(os, "write", write)
        with caplog.at_level(logging.ERROR, "binwire.audit"):
            await note(audit, "during")
    await note(audit, "after")
    assert [
        "No space left" in record.getMessage() and "during" in record.getMessage() for record in caplog.records
    ] == [True]
    assert await operations(audit) == ["after", "before"]
    assert (tmp_path / "audit.jsonl").read_bytes().count(b"\n") == 2


async def test_that_it_cannot_be_read_is_one_sentence(audit: AuditLog, tmp_path: Path) -> None:
    (tmp_path / "audit.jsonl").mkdir()
    with pytest.raises(StorageError, match=r"the audit log .*audit.jsonl cannot be read \(Is a directory\)"):
        await audit.read(None, "", 10)


async def test_refused_sign_ins_are_told_once_for_each_origin_and_bounded(
    audit: AuditLog, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit_module, "REFUSED_LOGINS_MAX", 2)
    error = OperationError(Refusal.UNAUTHENTICATED, "this is not the password")
    for origin in ("192.0.2.1", "192.0.2.1", "192.0.2.2", "192.0.2.3"):
        await audit.note_refused_login(Caller("console", "console", origin), error)
    assert [entry.origin for entry in await audit.read(None, "", 10)] == ["192.0.2.2", "192.0.2.1"]
    clock.advance(audit_module.REFUSED_LOGIN_MS)
    await audit.note_refused_login(Caller("console", "console", "192.0.2.3"), error)
    assert len(await audit.read(None, "", 10)) == 3


async def test_it_is_read_page_by_page_over_http(open_console: Console) -> None:
    for _ in range(3):
        await open_console.change("/api/v1/reload")
    first = (await open_console.get("/api/v1/audit?limit=2")).json()
    assert [entry["id"] for entry in first["entries"]] == [3, 2]
    assert first["is_complete"] is False
    rest = (await open_console.get("/api/v1/audit?limit=2&before_id=2")).json()
    assert ([entry["id"] for entry in rest["entries"]], rest["is_complete"]) == ([1], True)
    assert (await open_console.get("/api/v1/audit?limit=201")).json()["field"] == "limit"
