"""Reading backwards, damage, filters and the compiled scan: what no search may miss or make up."""

from __future__ import annotations

import random
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from broker.operations.records import Condition
from broker.search import records as scan
from broker.search.filters import FilterMaker
from broker.search.protocol import Log, Question
from broker.search.records import CellClass, Reader, Wanted, cell_key, find_in_python, note_in_python
from broker.search.searching import ALL_KINDS, Searcher
from capture import avro
from storage.clock import SystemClock
from storage.compression import NONE
from storage.config import LogConfig
from storage.encoding import encode_batch
from storage.errors import CorruptLog
from storage.index import offset_index_path, time_index_path
from storage.log import SourcePosition
from storage.log_scan import SegmentScan, Stretch
from storage.records import HEADER_BYTES, Batch
from storage.search_filter import BLOCK_KEYS, ROWS_LOG2_MAX, enter
from storage.segment import filter_path, source_path
from storage.segment_log import SegmentLog
from tests.broker import search_logs

EVERYTHING = Question(ALL_KINDS)


def written(folder: Path, count: int = 60) -> Log:
    log, _ = search_logs.write_log(folder / "t-0", list(search_logs.orders(count)))
    return log


def found(searcher: Searcher, log: Log, question: Question = EVERYTHING) -> tuple[list[int], list[str]]:
    answer = searcher.search(log, question, log.high_watermark, 500, 60.0)
    assert answer.before is None
    return search_logs.offsets(answer.records), list(answer.damages)


def by_id(number: int) -> Question:
    return Question(ALL_KINDS, conditions=(Condition("id", "=", str(number)),))


# ---- damage ----


@pytest.mark.parametrize("with_filters", [False, True])
def test_a_damaged_batch_is_left_out_and_told_of(tmp_path: Path, *, with_filters: bool) -> None:
    log = written(tmp_path)
    searcher = Searcher()
    if with_filters:
        FilterMaker(searcher).run(log, 60.0)
    damaged = searcher.segments(log, 60)[0].path
    data = bytearray(damaged.read_bytes())
    data[HEADER_BYTES + 20] ^= 1
    damaged.write_bytes(data)
    offsets, damages = found(searcher, log)
    assert offsets == list(range(59, 2, -1))
    assert len(damages) == 1
    assert f"{damaged}, byte 0: what was written there is damaged and was left out" in damages[0]


def test_a_segment_with_damage_gets_no_filter_and_the_others_do(tmp_path: Path) -> None:
    log = written(tmp_path)
    first, *others = Searcher().segments(log, 60)
    data = bytearray(first.path.read_bytes())
    data[HEADER_BYTES + 20] ^= 1
    first.path.write_bytes(data)
    assert FilterMaker(Searcher()).run(log, 60.0)
    assert not filter_path(first.path).exists()
    assert all(filter_path(other.path).exists() for other in others[:-1])


@pytest.mark.parametrize("which", [offset_index_path, time_index_path])
@pytest.mark.parametrize("is_gone", [False, True])
def test_an_index_that_errs_or_is_gone_changes_nothing(tmp_path: Path, which: Any, *, is_gone: bool) -> None:
    log, _ = search_logs.write_log(tmp_path / "t-0", list(search_logs.orders(300)), segment_bytes=1 << 20)
    (segment,) = Searcher().segments(log, 300)
    index = which(segment.path)
    if is_gone:
        index.unlink()
    else:
        data = bytearray(index.read_bytes())
        for at in range(0, len(data), 5):
            data[at] ^= 0x55
        index.write_bytes(data)
    for before in (300, 200, 1):
        answer = Searcher().search(log, EVERYTHING, before, 500, 60.0)
        assert search_logs.offsets(answer.records) == list(range(before - 1, -1, -1))
        assert not answer.damages


async def test_a_segment_that_is_written_to_ends_where_its_last_commit_does(tmp_path: Path) -> None:
    """Behind it the file is as large as the segment may become, and empty."""
    log = SegmentLog.open(tmp_path / "t-0", "t", LogConfig(segment_bytes=1 << 20), SystemClock())
    log.attach(lambda: b"")
    values = [avro.encode(each) for each in search_logs.orders(3)]
    log.append(encode_batch(0, values, [0, 1, 2], NONE))
    (segment,) = Searcher().segments(Log(str(log.directory), 0, 1), 1)
    assert segment.size_bytes == 0
    log.commit([SourcePosition(1, 100)])
    log.append(encode_batch(3, values, [0, 1, 2], NONE))
    log.commit([SourcePosition(1, 103)])
    log.append(encode_batch(6, values, [0, 1, 2], NONE))
    assert segment.path.stat().st_size == 1 << 20
    committed_bytes = log.committed_bytes
    assert segment.size_bytes == committed_bytes < 1 << 14
    answer = Searcher().search(Log(str(log.directory), 0, 6), EVERYTHING, 6, 500, 60.0)
    assert (len(answer.records), answer.searched_bytes, answer.total_bytes) == (6, committed_bytes, committed_bytes)
    entries = source_path(segment.path)
    whole = entries.read_bytes()
    entries.write_bytes(whole[:-1] + bytes((whole[-1] ^ 1,)))
    assert segment.size_bytes == 1 << 20, "what the last commit says is damaged: all of the file is looked through"
    assert len(Searcher().search(Log(str(log.directory), 0, 6), EVERYTHING, 6, 500, 60.0).records) == 6
    entries.write_bytes(whole)
    await log.close()


def test_what_is_not_visible_is_not_found(tmp_path: Path) -> None:
    log = written(tmp_path)
    part = Log(log.directory, 7, 41)
    assert found(Searcher(), part) == (list(range(40, 6, -1)), [])


# ---- filters ----


def test_a_filter_is_dropped_when_any_byte_of_it_is_wrong_or_cut_off(tmp_path: Path) -> None:
    log = written(tmp_path)
    assert FilterMaker(Searcher()).run(log, 60.0)
    path = filter_path(Searcher().segments(log, 60)[0].path)
    whole = path.read_bytes()
    randomly = random.Random(7)
    positions = [*range(0, 100, 3), *(randomly.randrange(len(whole)) for _ in range(60))]
    for at in positions:
        path.write_bytes(whole[:at] + bytes((whole[at] ^ 0xFF,)) + whole[at + 1 :])
        assert found(Searcher(), log, by_id(1)) == ([1], []), at
    for size in range(0, len(whole), 701):
        path.write_bytes(whole[:size])
        assert found(Searcher(), log, by_id(1)) == ([1], []), size


def test_a_filter_of_another_segment_is_not_believed(tmp_path: Path) -> None:
    log = written(tmp_path)
    assert FilterMaker(Searcher()).run(log, 60.0)
    first, second, *_ = Searcher().segments(log, 60)
    filter_path(first.path).write_bytes(filter_path(second.path).read_bytes())
    assert found(Searcher(), log, by_id(1)) == ([1], [])
    assert not filter_path(first.path).exists()


def test_a_filter_saves_reading(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = written(tmp_path, 600)
    read_bytes: list[int] = []
    read = SegmentScan.read

    def counting(self: SegmentScan, stretch: Stretch, until: int, damages: list[str]) -> list[Batch]:
        read_bytes.append(stretch.end - stretch.position)
        return read(self, stretch, until, damages)

    monkeypatch.setattr(SegmentScan, "read", counting)
    assert found(Searcher(), log, by_id(1)) == ([1], [])
    without = sum(read_bytes)
    assert FilterMaker(Searcher()).run(log, 60.0)
    read_bytes.clear()
    assert found(Searcher(), log, by_id(1)) == ([1], [])
    assert sum(read_bytes) < without / 5


def test_a_filter_goes_on_with_the_segment_that_is_written_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("storage.search_filter.BLOCK_KEYS", 8)
    log, _ = search_logs.write_log(tmp_path / "t-0", list(search_logs.orders(300)), segment_bytes=1 << 20)
    searcher = Searcher()
    maker = FilterMaker(searcher)
    covered = []
    for high_watermark in (90, 200, 300):
        part = Log(log.directory, 0, high_watermark)
        assert maker.run(part, 60.0)
        (segment,) = searcher.segments(part, 1)
        segment_filter = searcher.filter_of(segment)
        assert segment_filter is not None
        covered.append(segment_filter.next_offset)
        assert segment_filter.next_offset <= high_watermark
        for number in (0, 50, high_watermark - 1):
            assert found(searcher, part, by_id(number)) == ([number], [])
    assert covered == sorted(set(covered))
    # Another process goes on where the first one's groups end.
    assert FilterMaker(Searcher()).run(log, 60.0)
    assert found(Searcher(), log, by_id(299)) == ([299], [])


def test_a_filter_of_what_a_failed_flush_cut_is_made_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The log is cut and other records come in place of those that were: no search goes by the keys of the old ones."""
    monkeypatch.setattr("storage.search_filter.BLOCK_KEYS", 8)
    records = list(search_logs.orders(300))
    log, _ = search_logs.write_log(tmp_path / "t-0", records, segment_bytes=1 << 20)
    searcher = Searcher()
    maker = FilterMaker(searcher)
    assert maker.run(log, 60.0)
    assert found(searcher, log, by_id(250)) == ([250], [])
    others = [*records[:200], *(list(search_logs.orders(400))[300:])]
    search_logs.write_log(tmp_path / "other-0", others, segment_bytes=1 << 20)
    (segment,) = searcher.segments(log, 1)
    for file in (tmp_path / "other-0").glob(f"{segment.path.stem}.*"):
        (segment.path.parent / file.name).write_bytes(file.read_bytes())
    for _ in range(2):
        assert found(searcher, log, by_id(250)) == ([], [])
        assert found(searcher, log, by_id(350)) == ([250], [])
        assert maker.run(Log(log.directory, 0, 301), 60.0)


def test_few_blocks_are_looked_at_in_vain() -> None:
    """16 bits per key and ten of them: one in two thousand; nothing that was entered is missed."""
    rows = bytearray(1 << ROWS_LOG2_MAX)
    randomly = random.Random(7)
    keys = [randomly.getrandbits(64) for _ in range(BLOCK_KEYS)]
    for key in keys:
        enter(rows, 0, key)
    assert not any(enter(rows, 0, key) for key in keys)
    wrong = sum(not enter(bytearray(rows), 0, randomly.getrandbits(64)) for _ in range(300))
    assert wrong <= 3


# ---- the compiled scan, and Python ----


def _batch(log_records: list[dict[str, Any]]) -> tuple[bytes, int]:
    times = [each["sourceTimestamp"] * 1000 for each in log_records]
    return encode_batch(5, [avro.encode(each) for each in log_records], times)[HEADER_BYTES:], len(log_records)


SAMPLES = [
    *search_logs.orders(3),
    search_logs.record(3, "DDL", "shop", ddl="DROP TABLE t"),
    search_logs.record(4, "HEARTBEAT", seconds=search_logs.FIRST_S - 5),
    search_logs.record(
        5, "UPDATE", "shop.t",
        before={"a": search_logs.double(-0.0), "b": None, "c": search_logs.parts(None, None, None, -1, -2, -3, -4)},
        after={"a": search_logs.double(1.5), "b": search_logs.text("x" * 300), "c": search_logs.timestamp(1, 2)},
    ),
    search_logs.record(6, "DELETE", "a.b", before={"a": search_logs.ABSENT, "茶": search_logs.binary(b"\0\xff")}),
]  # fmt: skip


def _compiled() -> Any:
    if scan._find is None or scan.note_compiled is None:
        pytest.skip("broker/search/_scan.c was not compiled here, or is not wanted")
    return scan._find, scan.note_compiled


@pytest.mark.parametrize("columns", [(), (b"a",), (b"id", "茶".encode(), b"a", b"nothing")])
@pytest.mark.parametrize("names", [(None, None), (b"shop", None), (None, b"orders"), (b"shop", b"t"), (b"", b"")])
def test_both_scans_find_the_same(columns: tuple[bytes, ...], names: tuple[bytes | None, bytes | None]) -> None:
    find, _ = _compiled()
    records, count = _batch(SAMPLES)
    for kinds in (ALL_KINDS, 1, 1 << 3):
        for from_delta, to_delta in ((-(1 << 62), 1 << 62), (0, 1000), (-9999, -1)):
            wanted = Wanted(kinds, *names, columns, (), from_delta, to_delta)
            made = find(records, count, from_delta, to_delta, kinds, *names, columns, (None,) * len(columns))
            assert [tuple(change) for change in find_in_python(records, count, wanted)] == made


def test_contents_leave_out_what_has_none_of_them() -> None:
    find, _ = _compiled()
    records, count = _batch(SAMPLES)

    def offsets(columns: tuple[bytes, ...], *contents: tuple[bytes, ...] | None) -> list[int]:
        made = find(records, count, -(1 << 62), 1 << 62, ALL_KINDS, None, None, columns, contents)
        return [change[0] for change in made]

    assert offsets((b"id",), (b"n1", b"n2")) == [1, 2]
    assert offsets((b"id",), (b"b1",)) == []
    assert offsets((b"amount",), (b"n1.5",)) == [1]
    assert offsets((b"id", b"amount"), (b"n1",), (b"n2.5",)) == []
    assert offsets((b"id", b"amount"), (b"n1",), None) == [1]
    assert offsets((b"nothing",), (b"n1",)) == []
    assert offsets(("茶".encode(),), (b"b\0\xff",)) == [6]
    for wrong in ((), ((),) * 2, ("x",), ((b"",),), (("x",),)):
        with pytest.raises((TypeError, ValueError)):
            find(records, count, 0, 0, ALL_KINDS, None, None, (b"id",), wrong)


def test_both_scans_enter_the_same_keys() -> None:
    _, note = _compiled()
    records, count = _batch(SAMPLES)
    compiled, python = bytearray(1 << 16), bytearray(1 << 16)
    new, least, greatest = note(records, count, compiled, 3)
    entered: list[bool] = []
    times = note_in_python(records, count, lambda key: entered.append(enter(python, 3, key)))
    assert compiled == python
    assert (new, least, greatest) == (sum(entered), *times)
    key = cell_key("茶".encode(), b"b", b"\0\xff")
    assert key is not None
    assert not enter(compiled, 3, key)


def test_no_prefix_is_taken_for_whole() -> None:
    find, note = _compiled()
    records, count = _batch(SAMPLES)
    wanted = Wanted(ALL_KINDS, columns=(b"a",))
    for size in range(len(records)):
        cut = records[:size]
        assert find(cut, count, -(1 << 62), 1 << 62, ALL_KINDS, None, None, (b"a",), (None,)) is None
        assert note(cut, count, bytearray(512), 0) is None
        with pytest.raises(CorruptLog):
            find_in_python(cut, count, wanted)


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_changed_bytes_are_read_alike_or_refused(data: st.DataObject) -> None:
    """Whatever is in the bytes: no read beyond them, and where the compiled scan has an answer, it is Python's."""
    find, note = _compiled()
    records, count = _batch(SAMPLES)
    changed = bytearray(records)
    for _ in range(data.draw(st.integers(1, 6))):
        changed[data.draw(st.integers(0, len(changed) - 1))] = data.draw(st.integers(0, 255))
    mutated = bytes(changed)
    columns = (b"a", b"id")
    made = find(mutated, count, -(1 << 62), 1 << 62, ALL_KINDS, None, None, columns, (None, None))
    find(mutated, count, -(1 << 62), 1 << 62, ALL_KINDS, None, None, columns, ((b"f", b"n1"), None))
    note(mutated, count, bytearray(512), 0)
    if made is not None:
        assert [tuple(change) for change in find_in_python(mutated, count, Wanted(ALL_KINDS, columns=columns))] == made


def test_numbers_are_normalized_alike() -> None:
    _, note = _compiled()
    for digits in (
        "0",
        "-0",
        "007",
        "12.50",
        "-12.500",
        "0.00",
        "-0.10",
        ".5",
        "1e5",
        "",
        "-",
        "." * 3,
        "9" * 130,
        "9" * 126,
    ):
        cell = {"class": "Decimal", "value": digits, "precision": 1, "scale": 1}
        records, count = _batch([search_logs.record(0, "INSERT", "s.t", after={"a": cell})])
        compiled, python = bytearray(1 << 12), bytearray(1 << 12)
        note(records, count, compiled, 0)
        note_in_python(records, count, partial(enter, python, 0))
        assert compiled == python, digits


def test_a_cell_class_has_the_number_of_the_schema() -> None:
    for kind, cell in (
        (CellClass.INTEGER, search_logs.integer(1)),
        (CellClass.CHARACTER, search_logs.text("a")),
        (CellClass.DECIMAL, search_logs.decimal("1")),
        (CellClass.FLOAT, search_logs.double(1.0)),
        (CellClass.TIMESTAMP, search_logs.timestamp(1)),
        (CellClass.DATETIME, search_logs.parts(*[1] * 7)),
        (CellClass.BINARY_OBJECT, search_logs.binary(b"a")),
        (CellClass.TEXT_OBJECT, search_logs.label("a")),
        (CellClass.EMPTY_OBJECT, search_logs.ABSENT),
    ):
        records, count = _batch([search_logs.record(0, "INSERT", "s.t", after={"a": cell})])
        (change,) = find_in_python(records, count, Wanted(ALL_KINDS, columns=(b"a",)))
        assert change.after is not None
        assert change.after[0] is not None
        assert Reader(change.after[0]).number() == kind
