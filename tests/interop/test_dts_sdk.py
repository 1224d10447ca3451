"""The service's own Java SDK, unmodified, in both of its modes: bytes, decoded rows, checkpoint, resumption."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest

from tests.decoded import Record, decode_value, row_of
from tests.interop.client import Client
from tests.interop.client_matrix import DTS_CLIENTS, cells
from tests.interop.conftest import Session
from tests.interop.known_log import KnownLog

_MODES = pytest.mark.parametrize("mode", ["assign", "group"])


def assert_rows_shown(rows: list[list[Any]], records: list[Record]) -> None:
    """The SDK's public API shows each record's head and every cell of its images as fastavro reads them."""
    assert len(rows) == len(records)
    for shown, record in zip(rows, records, strict=True):
        decoded = decode_value(record.value)
        assert shown[:4] == [record.offset, decoded["id"], decoded["sourceTimestamp"], decoded["operation"]]
        if decoded["fields"] is None:
            assert shown[4:] == [None, None, None]
            continue
        row = row_of(decoded)
        assert shown[4] == row.table
        assert_image_shown(shown[5], row.before)
        assert_image_shown(shown[6], row.after)


def assert_image_shown(shown: dict[str, str | None] | None, image: dict[str, Any] | None) -> None:
    if image is None or shown is None:
        assert shown is image
        return
    assert list(shown) == list(image)
    for name, text in shown.items():
        assert _plain(text, image[name]) == image[name], name


def _plain(text: str | None, like: Any) -> Any:
    """A text of the SDK (times in UTC, with up to nine digits of a second) as the class of the value it should be."""
    if text is None or isinstance(like, str):
        return text
    if isinstance(like, dt.datetime):
        whole, _, fraction = text.partition(".")
        microsecond = int(fraction.ljust(9, "0")) // 1000
        return dt.datetime.fromisoformat(whole).replace(microsecond=microsecond, tzinfo=like.tzinfo)
    return type(like)(text)


@pytest.mark.parametrize("client", cells(DTS_CLIENTS), indirect=True)
@_MODES
def test_reads_everything_and_resumes_by_its_checkpoint(
    client: Client, session: Session, known_log: KnownLog, mode: str
) -> None:
    """The SDK commits a record's own offset with its time as metadata, and comes back by that time."""
    records = known_log.records
    half = len(records) // 2
    begin: dict[str, Any] = {"timestamp": records[0].timestamp_ms // 1000, "metadata": ""}
    first = session.run(mode, purpose=f"{mode}-resume", count=half, **begin)
    assert first.records == records[:half]
    assert_rows_shown(first.rows, records[:half])

    resumed = known_log.from_time(records[half - 1].timestamp_ms)
    second = session.run(mode, purpose=f"{mode}-resume", count=len(resumed), **begin)
    assert second.records == resumed


@pytest.mark.parametrize("client", cells(DTS_CLIENTS), indirect=True)
@_MODES
def test_start_before_the_range_is_the_beginning(
    client: Client, session: Session, known_log: KnownLog, mode: str
) -> None:
    wanted = known_log.records[:20]
    before_s = known_log.records[0].timestamp_ms // 1000 - 3600
    outcome = session.run(mode, purpose=f"{mode}-begin", timestamp=before_s, count=len(wanted))
    assert outcome.records == wanted
