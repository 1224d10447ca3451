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
    "groups": [],
}
STATUS = {"listeners": {"public": "127.0.0.1:18001"}, "channels": [CHANNEL]}


def test_a_reason_stays_one_line_where_a_program_may_read_it() -> None:
    assert f"  reason    {REASON}" in list(lines(STATUS, PLAIN))


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
