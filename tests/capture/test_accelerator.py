"""The compiled modules beside generated Python: the same bytes and the same errors, whatever an event holds.

For strangers' bytes `tests/torture/test_accelerator.py` runs the same under a compiler's memory checks.
"""

from __future__ import annotations

import asyncio
import copy
import errno
import importlib
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import hatch_build
from bench import material
from capture import program
from capture.cells import ColumnShape
from capture.columns import COLUMN_TYPES
from capture.errors import CaptureError
from capture.file_source import FileSource
from capture.rows_event import RowsEvent, RowsKind
from capture.table import Column
from capture.table_map import FieldType, TableMapEvent
from capture.transcoder import Transcoder
from storage import compiled, encoding
from storage.compression import CODECS, Codec
from tests.c_sources import build_in
from tests.capture.row_cases import Case, table_of, tables_with_rows, text_column
from tests.capture.test_golden_cells import GOLDEN, MALFORMED, rows_of, transcoder
from tests.capture.test_transcoder import HEAD, ORDER, ORDER_ROWS, events_of, raw_rows
from tests.capture.world import WAIT_S, World, running
from tests.fakes import ManualClock

THERE = all(module.path.exists() for module in hatch_build.MODULES)
"""Also those that are out of date: `make setup` is due then, and a test says so."""
pytestmark = pytest.mark.skipif(compiled.is_off() or not THERE, reason="the compiled modules are not there")

MANY = settings(suppress_health_check=[HealthCheck.too_slow])
Outcome = list[bytes] | tuple[str, str]


def outcome(made: Transcoder, rows: RowsEvent, first_id: int = 1) -> Outcome:
    """The records, or what is wrong with the event."""
    try:
        return made.transcode(rows, HEAD, first_id)
    except CaptureError as error:
        return type(error).__name__, str(error)


def python(made: Transcoder) -> Transcoder:
    """The same without a program."""
    plain = copy.copy(made)
    plain._program, plain._images, plain._rows = None, {}, {}
    return plain


def by_program(made: Transcoder, rows: RowsEvent, first_id: int = 1) -> list[bytes] | None:
    """What the accelerator makes of an event, None where it leaves it to the generated code."""
    assert made._program is not None
    frame = made._envelope.frame({"write": 0, "update": 1, "delete": 2}[rows.kind.value], HEAD)  # type: ignore[arg-type]
    sides = rows.kind is not RowsKind.WRITE, rows.kind is not RowsKind.DELETE
    return made._program.transcode(rows.data, rows.rows_start, rows.rows_end, *sides, first_id, *frame)


# ---- the same bytes ----


@MANY
@given(case=tables_with_rows(), kind=st.sampled_from(RowsKind), first_id=st.integers(0, 2**62))
def test_rows_of_every_type_are_made_without_generated_code(case: Case, kind: RowsKind, first_id: int) -> None:
    images = case.rows * (2 if kind is RowsKind.UPDATE and len(case.rows) % 2 else 1)
    table_map, rows = events_of(case.table, kind, images)
    made = Transcoder(case.table, table_map, "8.0.36")
    records = by_program(made, rows, first_id)
    assert records is not None
    assert records == python(made).transcode(rows, HEAD, first_id)


@MANY
@given(case=tables_with_rows(columns_max=8, rows_max=4), kind=st.sampled_from(RowsKind), data=st.data())
def test_a_mutated_event_gives_the_same_records_or_the_same_error(
    case: Case, kind: RowsKind, data: st.DataObject
) -> None:
    images = case.rows * (2 if kind is RowsKind.UPDATE and len(case.rows) % 2 else 1)
    table_map, rows = events_of(case.table, kind, images)
    image = bytearray(rows.data[rows.rows_start : rows.rows_end])
    for _ in range(data.draw(st.integers(1, 6))):
        at = data.draw(st.integers(0, len(image)))
        if data.draw(st.booleans()) and at < len(image):
            image[at] = data.draw(st.integers(0, 255) | st.sampled_from([0, 0x7F, 0x80, 0xFF]))
        else:
            image[at : at + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=5))
    mutated = rows._replace(data=bytes(image), rows_start=0, rows_end=len(image))
    made = Transcoder(case.table, table_map, "8.0.36")
    assert outcome(made, mutated) == outcome(python(made), mutated)


@MANY
@given(case=tables_with_rows(columns_max=8, rows_max=2))
def test_every_prefix_gives_the_same_records_or_the_same_error(case: Case) -> None:
    table_map, rows = events_of(case.table, RowsKind.WRITE, case.rows)
    made = Transcoder(case.table, table_map, "8.0.36")
    plain = python(made)
    step = max(1, (rows.rows_end - rows.rows_start) // 100)
    for end in range(rows.rows_start, rows.rows_end + 1, step):
        cut = rows._replace(rows_end=end)
        assert outcome(made, cut) == outcome(plain, cut)
        assert outcome(made, cut._replace(data=rows.data[:end])) == outcome(plain, cut)


@pytest.mark.parametrize(("one", "field_type", "metadata", "image", "_"), GOLDEN, ids=lambda part: repr(part)[:40])
def test_values_of_servers_are_made_alike_and_no_prefix_of_them_by_the_program(
    one: Column, field_type: FieldType, metadata: int, image: str, _: Any
) -> None:
    made = transcoder(one, field_type, metadata)
    whole = b"\xfc" + bytes.fromhex(image) + b"\x2a"
    assert by_program(made, rows_of(whole)) == python(made).transcode(rows_of(whole), HEAD, 1)
    for size in range(1, len(whole)):
        assert by_program(made, rows_of(whole[:size])) is None
    assert by_program(made, rows_of(whole + b"\xfc")) is None


@pytest.mark.parametrize(("one", "field_type", "metadata", "image"), MALFORMED, ids=lambda part: repr(part)[:40])
def test_what_no_server_writes_is_left_to_the_generated_code(
    one: Column, field_type: FieldType, metadata: int, image: str
) -> None:
    made = transcoder(one, field_type, metadata)
    rows = rows_of(b"\xfc" + bytes.fromhex(image) + b"\x2a")
    assert by_program(made, rows) is None
    assert outcome(made, rows) == outcome(python(made), rows)


@pytest.mark.parametrize("fsp", range(7))
@pytest.mark.parametrize("field_type", [FieldType.DATETIME2, FieldType.TIMESTAMP2, FieldType.TIME2])
def test_every_fraction_and_edge_of_a_moment(field_type: FieldType, fsp: int) -> None:
    name = {FieldType.DATETIME2: "datetime", FieldType.TIMESTAMP2: "timestamp", FieldType.TIME2: "time"}[field_type]
    size = {"datetime": 5, "timestamp": 4, "time": 3}[name] + (fsp + 1) // 2
    made = transcoder(Column("c", name, fsp=fsp), field_type, fsp)
    plain = python(made)
    for high in (0x00, 0x01, 0x4B, 0x7F, 0x80, 0x81, 0xB4, 0xC0, 0xFF):
        for rest in (bytes(size - 1), b"\xff" * (size - 1), bytes(range(1, size)), b"\x80" * (size - 1)):
            rows = rows_of(b"\xfc" + bytes([high]) + rest + b"\x2a")
            assert outcome(made, rows) == outcome(plain, rows)


@given(precision=st.integers(1, 65), data=st.data())
def test_any_bytes_of_a_decimal(precision: int, data: st.DataObject) -> None:
    scale = data.draw(st.integers(0, min(30, precision)))
    made = transcoder(
        Column("c", "decimal", precision=precision, scale=scale), FieldType.NEWDECIMAL, precision << 8 | scale
    )
    size = sum(4 * (n // 9) + (0, 1, 1, 2, 2, 3, 3, 4, 4)[n % 9] for n in (precision - scale, scale))
    value = data.draw(st.binary(min_size=size, max_size=size) | st.sampled_from([bytes(size), b"\xff" * size]))
    for first in (value[0], value[0] ^ 0x80, 0x80, 0x7F):
        rows = rows_of(b"\xfc" + bytes([first]) + value[1:] + b"\x2a")
        assert outcome(made, rows) == outcome(python(made), rows)


def test_every_combination_of_nulls() -> None:
    table = table_of(*(Column(f"c{index}", "int", nullable=index != 4) for index in range(9)))
    images = [[None if bits >> index & 1 and index != 4 else index - 4 for index in range(9)] for bits in range(1 << 9)]
    table_map, rows = events_of(table, RowsKind.WRITE, images)
    made = Transcoder(table, table_map, "8.0.36")
    assert by_program(made, rows) == python(made).transcode(rows, HEAD, 1)
    null = raw_rows(table_map, b"\xff\xff")
    assert by_program(made, null) is None


def test_a_large_event_is_worked_on_while_others_run() -> None:
    """The same bytes; that the lock is let go cannot be seen from here, save by the waiting of others."""
    table_map, rows = events_of(ORDER, RowsKind.UPDATE, ORDER_ROWS[:1] * 20_000)
    made = Transcoder(ORDER, table_map, "8.0.36")
    assert rows.rows_end - rows.rows_start > 1 << 19
    assert by_program(made, rows) == python(made).transcode(rows, HEAD, 1)
    cut = rows._replace(rows_end=rows.rows_end - 1)
    assert by_program(made, cut) is None


# ---- which columns are called ----


METADATA = {FieldType.NEWDECIMAL: 0x0A02, FieldType.BIT: 0x0201, FieldType.STRING: 0xFE04, FieldType.ENUM: 1}
WITHOUT_OPERATION = {
    FieldType.JSON,
    FieldType.GEOMETRY,
    FieldType.BLOB_COMPRESSED,
    FieldType.VARCHAR_COMPRESSED,
    FieldType.DATETIME,
}
"""What is parsed or inflated by Python, and DATETIME as it was before MySQL 5.6."""


def test_few_types_are_left_to_their_generated_code() -> None:
    """A type without an operation is slower than others: it is here because somebody thought of it."""
    found = set()
    for row in COLUMN_TYPES:
        for name in row.names:
            for field_type, reader in row.readers.items():
                column = Column("c", name, labels=("a",) if name in {"enum", "set"} else ())
                shape = ColumnShape(0, column, int(field_type), METADATA.get(field_type, 1))
                if reader(shape).operation is None:
                    found.add(field_type)
    assert found == WITHOUT_OPERATION


def test_a_called_column_among_others_is_made_alike() -> None:
    table = table_of(Column("a", "int"), Column("doc", "json"), text_column("t"), Column("b", "float"))
    images: list[list[Any]] = [[1, '{"k": [1, null, "x"]}', "t", 0.1], [2, None, None, None]]
    table_map, rows = events_of(table, RowsKind.UPDATE, images)
    made = Transcoder(table, table_map, "8.0.36")
    assert by_program(made, rows) == python(made).transcode(rows, HEAD, 1)
    damaged = bytearray(rows.data)
    damaged[rows.data.index(b"x", rows.rows_start) - 1] = 0x7F
    broken = rows._replace(data=bytes(damaged))
    assert outcome(made, broken) == outcome(python(made), broken)
    assert outcome(made, broken)[0] == "MalformedEvent"


# ---- what a program refuses to be ----


@pytest.mark.parametrize(
    ("row", "error"),
    [
        (("integer", True, 0, 0, False, b"", b"", None), ValueError),
        (("integer", True, 9, 0, False, b"", b"", None), ValueError),
        (("integer", True, -1, 0, False, b"", b"", None), ValueError),
        (("counted", True, 5, 0, False, b"", b"", None), ValueError),
        (("padded", True, 1, -1, False, b"", b"", None), ValueError),
        (("copied", True, -8, 0, False, b"", b"", None), ValueError),
        (("decimal", True, 66, 0, False, b"", b"", None), ValueError),
        (("decimal", True, 4, 5, False, b"", b"", None), ValueError),
        (("decimal", True, 4, -1, False, b"", b"", None), ValueError),
        (("datetime", True, 7, 0, False, b"", b"", None), ValueError),
        (("label", True, 1, 0, False, b"", b"", None), ValueError),
        (("label", True, 1, 0, False, b"", b"", ()), ValueError),
        (("label", True, 1, 0, False, b"", b"", ("text",)), TypeError),
        (("called", True, 1, 0, False, b"", b"", None), ValueError),
        (("unheard of", True, 1, 0, False, b"", b"", None), ValueError),
        (("date",), TypeError),
        ("date", TypeError),
    ],
)
def test_an_operation_that_cannot_be_is_refused(row: Any, error: type[Exception]) -> None:
    assert program._rows is not None
    with pytest.raises(error):
        program._rows.Program((row,))


def test_a_size_that_the_program_does_not_know_leaves_the_table_to_generated_code() -> None:
    """A table map is a stranger's too."""
    table_map = TableMapEvent(1, 0, "db", "t", bytes([FieldType.NEWDECIMAL]), (66 << 8,), (True,))
    made = Transcoder(table_of(Column("c", "decimal", precision=66, scale=0)), table_map, "8")
    assert made._program is None


@pytest.mark.parametrize("kind", RowsKind)
def test_images_without_columns_are_refused(kind: RowsKind) -> None:
    """They take no bytes, so that there would be no end of rows."""
    made = Transcoder(table_of(), TableMapEvent(1, 0, "db", "t", b"", (), ()), "8")
    rows = RowsEvent(kind, 1, 1, 0, b"", b"", b"\0\0", 0, 2)
    assert by_program(made, rows) is None
    assert outcome(made, rows) == outcome(python(made), rows)
    assert outcome(made, rows)[0] == "UnsupportedEvent"


@pytest.mark.parametrize(("start", "end"), [(-1, 4), (3, 2), (0, 5)])
def test_places_outside_of_the_event_are_refused(start: int, end: int) -> None:
    made = transcoder(Column("c", "tinyint"), FieldType.TINY, 0)
    assert made._program is not None
    assert made._program.transcode(b"\xfc\x01\x02\x03", start, end, False, True, 1, "", "") is None


@pytest.mark.parametrize("made", [None, "text", (1, 2), ("a",), ("a", -5), ("a", 99), ("\u4e00", 3)])
def test_an_answer_of_a_called_function_that_cannot_be_is_refused(made: Any) -> None:
    assert program._rows is not None
    row = ("called", True, 0, 0, False, b"", b"", lambda data, text, position: made)
    assert program._rows.Program((row,)).transcode(b"\xfe\1\2", 0, 3, False, True, 1, "", "") is None


# ---- batches ----


@given(
    contents=st.lists(st.tuples(st.binary(max_size=200), st.integers(-(2**40), 2**41) | st.just(7)), min_size=1),
    base_offset=st.integers(0, 2**60),
)
def test_batches_are_framed_alike(contents: list[tuple[bytes, int]], base_offset: int) -> None:
    values, times = [value for value, _ in contents], [time for _, time in contents]
    framed = encoding.encode_batch(base_offset, values, times)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(encoding, "_framing", None)
        assert encoding.encode_batch(base_offset, values, times) == framed


@pytest.mark.parametrize(
    "sizes", [[0] * 9000, [63, 64, 8191, 8192, 1 << 20], [3 << 20]], ids=["many", "widths", "large"]
)
def test_lengths_of_every_width_are_framed_alike(sizes: list[int]) -> None:
    values = [bytes([index % 251]) * size for index, size in enumerate(sizes)]
    times = [1_700_000_000_000 + 1000 * (index // 4000) for index in range(len(values))]
    framed = encoding.encode_batch(5, values, times)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(encoding, "_framing", None)
        assert encoding.encode_batch(5, values, times) == framed


@pytest.mark.parametrize("codec", CODECS, ids=lambda codec: codec.name)
def test_compressed_batches_are_framed_alike(codec: Codec) -> None:
    values, times = [b"value %d" % (index // 9) for index in range(2000)], [1_700_000_000_000] * 2000
    framed = encoding.encode_batch(5, values, times, codec)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(encoding, "_framing", None)
        assert encoding.encode_batch(5, values, times, codec) == framed


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (([b"a"], [1, 2], 61, lambda batch, time: bytes(61)), ValueError),
        (([b"a"], [1], 61, lambda batch, time: bytes(60)), ValueError),
        (([b"a"], [1], 61, lambda batch, time: None), ValueError),
        (([b"a"], [1], -1, lambda batch, time: b""), ValueError),
        (([b"a"], [1], 1 << 62, lambda batch, time: b""), ValueError),
        (([b"a"], [1], 61, lambda batch, time: 1 // 0), ZeroDivisionError),
        ((["a"], [1], 61, lambda batch, time: bytes(61)), TypeError),
        (([b"a"], ["1"], 61, lambda batch, time: bytes(61)), TypeError),
        (([b"a"], [1 << 64], 61, lambda batch, time: bytes(61)), OverflowError),
        ((7, [1], 61, lambda batch, time: bytes(61)), TypeError),
    ],
)
def test_a_batch_that_cannot_be_is_refused(arguments: Any, error: type[Exception]) -> None:
    assert encoding._framing is not None
    with pytest.raises(error):
        encoding._framing.batch(*arguments)


async def test_a_channel_writes_the_same_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Offsets, batch boundaries and every byte."""
    binlog = material.write_binlog(tmp_path / "mysql-bin.000001", 7, 200)
    logs = []
    for way in ("compiled", "python"):
        if way == "python":
            monkeypatch.setattr(program, "_rows", None)
            monkeypatch.setattr(encoding, "_framing", None)
        world = World(tmp_path / way, ManualClock(now_ms=1_700_000_000_000))
        channel = world.channel(lambda: FileSource([binlog.path]), "shop", url=f"file://{binlog.path}")
        async with running(channel):
            async with asyncio.timeout(WAIT_S):
                await channel.wait_ended()
        assert len(world.records()) == binlog.records
        await world.close()
        logs.append([path.read_bytes() for path in sorted((tmp_path / way).rglob("*.log"))])
    assert logs[0] == logs[1]
    assert sum(map(len, logs[0])) > 500_000


# ---- being there or not ----


def test_the_modules_are_those_of_the_sources() -> None:
    assert [module.name for module in hatch_build.MODULES if not module.is_current()] == [], "run `make setup`"


def test_a_module_of_other_sources_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As after a pull without `make setup`: it may lack what is asked of it, or make other bytes."""
    module = hatch_build.MODULES[0]
    package = tmp_path / "made_before"
    package.mkdir()
    shutil.copy(module.path, package)
    shutil.copy(hatch_build.ROOT / module.sources[0], package)
    monkeypatch.syspath_prepend(tmp_path)
    name = f"made_before.{module.name.rpartition('.')[2]}"
    assert compiled.load(name) is importlib.import_module(name)
    assert compiled.state(name) == "active"
    source = package / Path(module.sources[0]).name
    source.write_text(source.read_text() + "\n")
    assert compiled.load(name) is None
    assert compiled.state(name) == "out of date, pure Python does its work; make setup compiles it anew"
    source.unlink()
    assert compiled.load(name) is not None, "an installation without sources"


@pytest.mark.parametrize(
    ("value", "shown"),
    [*((value, "off, as BINWIRE_ACCELERATOR says") for value in ("off", "OFF", "0", "no")), ("", "active")],
)
def test_a_variable_turns_them_off(value: str, shown: str) -> None:
    ask = "import capture.program as p, storage.compiled as c; print(c.state('capture._rows'), p._rows is None)"
    environment = {"BINWIRE_ACCELERATOR": value, "PYTHONPATH": str(hatch_build.ROOT)}
    done = subprocess.run([sys.executable, "-c", ask], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == f"{shown} {bool(value)}\n"


def test_without_them_the_state_says_so() -> None:
    assert compiled.state("capture._rows", "capture._no_such_module") == "not built, pure Python does its work"


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the C sources to build in."""
    build_in(tmp_path, monkeypatch)
    return tmp_path


def test_a_changed_source_is_compiled_anew(elsewhere: Path) -> None:
    assert hatch_build.compile_modules()
    assert all(module.is_current() for module in hatch_build.MODULES)
    header = elsewhere / "storage" / "_zigzag.h"
    header.write_text(header.read_text() + "\n")
    assert not any(module.is_current() for module in hatch_build.MODULES)
    assert hatch_build.compile_modules()
    assert all(module.is_current() for module in hatch_build.MODULES)


def test_a_compiler_that_fails_is_a_notice_and_leaves_pure_python(
    elsewhere: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (elsewhere / "storage" / "_zigzag.h").write_text("#error no such luck\n")
    assert hatch_build.main() == 0
    (notice,) = capsys.readouterr().err.splitlines()
    assert "the accelerator was not compiled, pure Python does its work" in notice
    assert "no such luck" in notice
    assert list(elsewhere.rglob("*.so")) == []


def test_a_folder_that_takes_no_files_is_a_notice(
    elsewhere: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(dir: Path, prefix: str) -> None:  # noqa: A002  the name of tempfile
        raise PermissionError(errno.EACCES, "Permission denied", str(dir))

    monkeypatch.setattr(tempfile, "TemporaryDirectory", refuse)
    assert hatch_build.main() == 0
    (notice,) = capsys.readouterr().err.splitlines()
    assert "the accelerator was not compiled, pure Python does its work: Permission denied" in notice
    assert str(elsewhere) in notice


def test_without_a_compiler_nothing_is_compiled_and_nothing_said(
    elsewhere: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert hatch_build.compile_modules()
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setenv("PATH", "")
    assert hatch_build.compile_modules(), "what is up to date is kept"
    (elsewhere / "storage" / "_zigzag.h").write_text("changed")
    assert hatch_build.main() == 0
    assert capsys.readouterr().err == ""
    assert list(elsewhere.rglob("*.so")) == []
