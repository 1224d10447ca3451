"""Recordings as files: what an Avro library reads of them, what of one from another library is read, and damage."""

from __future__ import annotations

import io
import json
import os
import resource
import zlib
from pathlib import Path
from typing import Any

import fastavro
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from broker import recording as module
from broker.capturing import record_reader
from broker.recording import BLOCK_BYTES, MAGIC, Facts, Recording, RecordingError, RecordingWriter, Tracker
from capture import avro
from tests.decoded import record_schema

FACTS = Facts(topic="商店", masks=("a.b.c",), written_by="binwire 0")


def record(number: int, operation: str, text: str = "x") -> bytes:
    is_row = operation == "INSERT"
    cell = {"class": "Character", "charset": "utf8mb4", "value": text.encode()}
    return avro.encode(
        {
            "version": 0,
            "id": number,
            "sourceTimestamp": 1_800_000_000 + number,
            "sourcePosition": f"{number}@1",
            "safeSourcePosition": "4@1",
            "sourceTxid": "0",
            "source": {"sourceType": "MySQL", "version": "8.0.36"},
            "operation": operation,
            "objectName": "d.t" if is_row else None,
            "processTimestamps": None,
            "tags": {"thread_id": "8", "server_id": "1"},
            "fields": [{"name": "c", "dataTypeNumber": 253}] if is_row else None,
            "beforeImages": None,
            "afterImages": [cell] if is_row else None,
            "bornTimestamp": 1_800_000_000 + number,
        }
    )


def written(path: Path, operations: list[str], text: str = "x") -> list[bytes]:
    """The records that were handed to a writer, which has finished."""
    tracker, made = Tracker(), []
    with RecordingWriter(path, FACTS) as writer:
        for number, operation in enumerate(operations):
            made.append(record(number, operation, text))
            writer.add(made[-1], 1_800_000_000 + number, "8.0.36", ends=tracker.ends(operation))
        writer.finish()
    return made


def read(path: Path) -> list[bytes]:
    with Recording(path) as recording:
        return [each.value for each in recording.records(record_reader())]


def by_fastavro(path: Path) -> tuple[list[Any], dict[str, Any]]:
    with path.open("rb") as file:
        reader = fastavro.reader(file)
        return list(reader), reader.metadata


WHOLE = ["DDL", "BEGIN", "INSERT", "INSERT", "COMMIT", "HEARTBEAT"]


def test_what_was_written_is_read_byte_for_byte(tmp_path):
    made = written(tmp_path / "r", WHOLE)
    assert read(tmp_path / "r") == made
    with Recording(tmp_path / "r") as recording:
        assert recording.facts == Facts(
            topic="商店",
            source_version="8.0.36",
            masks=("a.b.c",),
            written_by="binwire 0",
            records=6,
            first_timestamp_s=1_800_000_000,
            last_timestamp_s=1_800_000_005,
        )
    assert (tmp_path / "r").stat().st_mode & 0o777 == 0o600, "rows are nobody else's"


def test_an_avro_library_reads_a_recording(tmp_path):
    made = written(tmp_path / "r", WHOLE)
    found, metadata = by_fastavro(tmp_path / "r")
    assert found == [fastavro.schemaless_reader(io.BytesIO(each), record_schema(), None) for each in made]
    assert metadata["binwire.topic"] == "商店"
    assert int(metadata["binwire.records"]) == len(made)


@pytest.mark.parametrize("codec", ["null", "deflate"])
def test_a_file_of_an_avro_library_is_read(tmp_path, codec):
    made = [record(number, operation) for number, operation in enumerate(WHOLE)]
    decoded = [
        fastavro.schemaless_reader(io.BytesIO(each), record_schema(), None, return_record_name=True) for each in made
    ]
    with (tmp_path / "r").open("wb") as file:
        fastavro.writer(file, record_schema(), decoded, codec=codec, sync_interval=64)
    assert read(tmp_path / "r") == made
    with Recording(tmp_path / "r") as recording:
        assert recording.facts == Facts()


@settings(max_examples=40)
@given(st.lists(st.sampled_from(["T", "D", "H", "L"]), min_size=1, max_size=12), st.integers(0, 6))
def test_only_whole_transactions_are_kept(tmp_path_factory, stretch, left_over):
    path = tmp_path_factory.mktemp("r") / "r"
    parts = {
        "T": ["BEGIN", "INSERT", "COMMIT"],
        "D": ["DDL"],
        "H": ["HEARTBEAT"],
        "L": ["BEGIN", *["INSERT"] * 9, "COMMIT"],
    }
    whole = [operation for part in stretch for operation in parts[part]]
    tail = ["BEGIN", *["INSERT"] * 6][:left_over]
    # Rows of a third of a block: transactions end within blocks, at their ends, and span several.
    made = written(path, whole + tail, "x" * (BLOCK_BYTES // 3))
    assert read(path) == made[: len(whole)]
    found, metadata = by_fastavro(path)
    assert len(found) == int(metadata["binwire.records"]) == len(whole)
    assert int(metadata["binwire.last_timestamp_s"]) == 1_800_000_000 + len(whole) - 1


def test_a_recording_that_fails_leaves_nothing_behind(tmp_path):
    with RecordingWriter(tmp_path / "r", FACTS) as writer:
        writer.add(record(0, "DDL"), 1, "8", ends=True)
        assert len(list(tmp_path.iterdir())) == 1
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_written_over(tmp_path):
    (tmp_path / "r").write_text("mine")
    with pytest.raises(RecordingError, match=r"r exists already; remove it, or name another file$"):
        RecordingWriter(tmp_path / "r", FACTS)
    with pytest.raises(RecordingError, match=r"nowhere/r cannot be written: No such file or directory"):
        RecordingWriter(tmp_path / "nowhere" / "r", FACTS)


def record_transactions(path: Path, count: int) -> None:
    """A recording with a row of 40 KB, which cannot be compressed to less, in each transaction."""
    with RecordingWriter(path, FACTS) as writer:
        for number in range(count):
            writer.add(record(number, "BEGIN"), number, "8", ends=False)
            writer.add(record(number, "INSERT", os.urandom(40_000).hex()), number, "8", ends=False)
            writer.add(record(number, "COMMIT"), number, "8", ends=True)
        writer.finish()


@pytest.mark.parametrize("room_bytes", [0, 100, 6000, 40_000])
@pytest.mark.parametrize("transactions", [1, 40])
def test_a_full_disk_is_told_and_leaves_nothing(tmp_path, room_bytes, transactions):
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room_bytes, limits[1]))
    try:
        with pytest.raises(RecordingError, match="r cannot be written: File too large; make room there"):
            record_transactions(tmp_path / "r", transactions)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert list(tmp_path.iterdir()) == []


# ---- files that are none, or damaged ----


def test_every_prefix_is_told_to_be_damaged(tmp_path):
    made = written(tmp_path / "r", [*WHOLE] * 3)
    data = (tmp_path / "r").read_bytes()
    schema = data.index(b'{"type"'), data.index(b"avro.codec")
    for size in [*range(schema[0] + 2), *range(*schema, 101), *range(schema[1] - 2, len(data))]:
        (tmp_path / "p").write_bytes(data[:size])
        with pytest.raises(RecordingError, match=r"p is (no recording|damaged at byte \d+: )[^\n]*$"):
            read(tmp_path / "p")
    assert read(tmp_path / "r") == made


@given(st.data())
def test_a_changed_byte_is_told_or_harmless(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("r") / "r"
    written(path, WHOLE)
    content = bytearray(path.read_bytes())
    content[data.draw(st.integers(0, len(content) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    path.write_bytes(content)
    try:
        read(path)
    except RecordingError as error:
        sentence = str(error)
    else:
        sentence = "harmless"
    assert "\n" not in sentence


def avro_file(schema: Any, codec: bytes = b"null", blocks: bytes = b"") -> bytes:
    pairs = {b"avro.schema": json.dumps(schema).encode(), b"avro.codec": codec}
    octets = [module._octets(key) + module._octets(value) for key, value in pairs.items()]
    return MAGIC + module._long(len(pairs)) + b"".join(octets) + b"\x00" + bytes(16) + blocks


def ours() -> Any:
    return json.loads(avro.SCHEMA_FILE.read_text("utf-8"))


def test_files_of_something_else_are_refused(tmp_path):
    cases = {
        b"": "is no recording; `binwire record TOPIC -o FILE` makes one",
        b"CREATE TABLE t (id INT)": "is no recording",
        avro_file("string"): "its schema is not that of the records, which `binwire schema` prints",
        avro_file({"type": "nothing"}): "its schema is not that of the records",
        avro_file(ours()).replace(json.dumps(ours()).encode(), b"[" * len(json.dumps(ours()))): "its schema is not",
        avro_file(ours(), b"snappy"): "is compressed by snappy; of Avro's codecs deflate and null are read",
        MAGIC + module._long(1) + module._long(1 << 40): "its head is said to have a text of 1099511627776 bytes",
        MAGIC + b"\xff" * 20: "a number in it is too long",
    }
    for content, sentence in cases.items():
        (tmp_path / "r").write_bytes(content)
        with pytest.raises(RecordingError, match=sentence):
            read(tmp_path / "r")
    with pytest.raises(RecordingError, match="cannot be read: Is a directory"):
        Recording(tmp_path)
    with pytest.raises(RecordingError, match="cannot be read: No such file"):
        Recording(tmp_path / "nothing")


def test_blocks_that_cannot_be_are_refused_before_memory_is_taken(tmp_path, monkeypatch):
    one = record(0, "DDL")
    deflated = zlib.compressobj(wbits=-15)
    bomb = deflated.compress(bytes(1 << 20)) + deflated.flush()
    monkeypatch.setattr(module, "BLOCK_BYTES_MAX", 1 << 16)

    def block(count: int, data: bytes, size: int | None = None) -> bytes:
        return module._long(count) + module._long(len(data) if size is None else size) + data + bytes(16)

    cases = [
        (b"null", block(1, one, 1 << 50), "a block is said to have 1 records in 1125899906842624 bytes"),
        (b"null", block(2, one), "what it has in a block is no record"),
        (b"null", block(1, one + b"\x00"), "a block has 1 bytes more than its records"),
        (b"null", block(1, one)[:-1] + b"\x01", "a block does not end where it should"),
        (b"deflate", block(1, b"\xff\xff"), "a block cannot be decompressed"),
        (b"deflate", block(1, bomb), "a block is cut short, or has more than 0 MiB"),
    ]
    for codec, blocks, sentence in cases:
        (tmp_path / "r").write_bytes(avro_file(ours(), codec, blocks))
        with pytest.raises(RecordingError, match=sentence):
            read(tmp_path / "r")


def test_a_recording_is_read_block_by_block(tmp_path):
    written(tmp_path / "r", ["BEGIN", *["INSERT"] * 40, "COMMIT"], "x" * BLOCK_BYTES)
    with Recording(tmp_path / "r") as recording:
        sizes = [len(data) for _, data in recording._blocks()]
    assert max(sizes) <= 2 * BLOCK_BYTES
    assert len(sizes) >= 40
