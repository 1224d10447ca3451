"""What `binwire status` prints: on a terminal a long reason is broken into lines, elsewhere it stays one line."""

from __future__ import annotations

from typing import Any

from broker.render import PLAIN, width
from broker.status import lines

REASON = (
    "the row of shop.orders with primary key id = 6 makes a record of 150276 bytes; 请提高 record_bytes_max 之后重启"
)
CHANNEL: dict[str, Any] = {
    "id": "shop",
    "name": "shop",
    "state": "Error",
    "reason": REASON,
    "retried_until_ms": None,
    "topic": "cn_hangzhou_rm_shop_dtstest_version2",
    "source": "mysql://binwire@127.0.0.1:3306",
    "position": None,
    "start_timestamp_ms": None,
    "end_timestamp_ms": None,
    "records_per_s": 0.0,
    "lag_ms": None,
    "durable_offset": 0,
    "disk": None,
    "damages": [],
    "refused_objects": None,
    "operations": ["resume_channel", "precheck_channel"],
    "groups": [],
}
STATUS = {"listeners": {"public": "127.0.0.1:18001"}, "channels": [CHANNEL], "incidents": []}
GROUP: dict[str, Any] = {
    "id": "dts1",
    "name": "readers",
    "username": "reader",
    "offset": 5,
    "behind": 7,
    "metadata": "",
    "delay_s": 12,
    "members": [],
}
DISK = {
    "used_bytes": 3 << 30,
    "needed_bytes": 45 << 30,
    "free_bytes": 20 << 30,
    "bytes_per_s": 530_000.0,
    "warning": None,
}


def shown(*incidents: dict[str, Any], **facts: Any) -> list[str]:
    return list(lines({"listeners": {}, "channels": [CHANNEL | facts], "incidents": incidents}, PLAIN))


def test_a_group_is_told_with_its_delay_and_who_reads_and_stands_by() -> None:
    members = [{"client_id": "billing\x1b", "is_active": True}, {"client_id": "spare", "is_active": False}]
    heading, *rows = shown(groups=[GROUP | {"members": members}, GROUP | {"offset": None, "delay_s": -1}])[-3:]
    names = ("group id", "name", "username", "committed", "behind", "delay", "clients", "metadata")
    cells = [heading.index(name) for name in names]
    ends = [*cells[1:], None]
    read, unread = ([row[start:end].strip() for start, end in zip(cells, ends, strict=True)] for row in rows)
    assert read[3:7] == ["5", "7", "12 s", "billing\\x1b, 1 standing by"]
    assert unread[3:7] == ["-", "7", "-", "-"]


def test_an_alert_that_goes_on_stands_with_its_channel() -> None:
    incident = {"channel_id": "shop", "rule_name": "late", "begun_ms": 1_700_000_000_000, "sentence": "it is behind"}
    told = shown(incident, incident | {"channel_id": "other"})
    [line] = [line for line in told if line.startswith("  alert ")]
    assert line.endswith("late, since 2023-11-14 22:13:20 UTC: it is behind")


def test_a_reason_stays_one_line_where_a_program_may_read_it() -> None:
    assert f"  reason    {REASON}" in list(lines(STATUS, PLAIN))


def test_what_is_to_be_done_is_what_may_be_done() -> None:
    def next_step(*operations: str) -> str:
        [line] = [line for line in shown(operations=list(operations)) if line.startswith("  next ")]
        return line.removeprefix("  next ").strip()

    assert next_step("precheck_channel", "resume_channel") == "needs action; after it: binwire channel resume shop"
    assert next_step("precheck_channel", "start_channel") == "needs action; after it: binwire channel start shop"
    assert next_step("precheck_channel") == "needs action; after it: binwire channel precheck shop"
    assert next_step("release_channel") == "needs action; after it: binwire channel release shop"
    assert next_step() == "needs action"


def test_a_reason_is_broken_at_spaces_for_the_terminals_width() -> None:
    shown = list(lines(STATUS, PLAIN, 60))
    start = next(number for number, line in enumerate(shown) if line.startswith("  reason    "))
    end = next(number for number, line in enumerate(shown) if line.startswith("  next "))
    reason = shown[start:end]
    assert len(reason) > 1
    assert all(width(line) <= 60 for line in reason)
    assert all(line.startswith(" " * 12) for line in reason[1:])
    assert " ".join(line[12:] for line in reason) == REASON


def test_a_very_narrow_terminal_breaks_the_lines_itself() -> None:
    assert any(len(line) > 30 for line in lines(STATUS, PLAIN, 10) if line.startswith("  reason"))


def test_what_is_flushed_and_what_the_disk_has_to_hold() -> None:
    assert "  disk      not looked at yet" in shown()
    assert "  flushed   all below offset 4711" in shown(durable_offset=4711)
    assert "  disk      3.0 GiB used, 45.0 GiB needed at 518 KiB/s, 20.0 GiB free" in shown(disk=DISK)
    unbounded = shown(disk=DISK | {"needed_bytes": None})
    assert "  disk      3.0 GiB used, unbounded at 518 KiB/s, 20.0 GiB free" in unbounded


def test_warnings_and_damages_are_lines_of_their_own() -> None:
    damages = ["0.log, byte 7, offset 3: damaged", "1.log, byte 8, offset 9: damaged"]
    found = shown(disk=DISK | {"warning": "the disk of /data will be full"}, damages=damages)
    assert "  warning   the disk of /data will be full" in found
    assert [line for line in found if line.startswith("  damaged ")] == [f"  damaged   {each}" for each in damages]
    assert not any(line.startswith(("  warning", "  damaged", "  refused")) for line in shown(disk=DISK))


def test_objects_that_are_not_in_force_are_told_with_their_reason() -> None:
    assert "  refused   the objects crm are not taken: …" in shown(refused_objects="the objects crm are not taken: …")
