"""Files of prepared transactions: their bytes, every way they can be cut or damaged, and what a crash leaves."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage import prepared_file
from storage.errors import CorruptLog, LogWriteError
from storage.files import Files
from storage.prepared import PreparedCopy, PreparedStore
from storage.prepared_file import (
    Frame,
    Place,
    PreparedFile,
    decode_frames,
    encode_frame,
    encode_head,
    encode_slot,
    prepared_paths,
    read_head,
)
from storage.verify import verify

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

XID = b"\1\0\0\0\1xy"
SERVER = "mysql 281c62dc"
FRAMES = [(1, b"table"), (2, b"r" * 700_000), (2, b""), (3, b"a\0b")]


@pytest.fixture
def store(tmp_path: Path) -> PreparedStore:
    made = PreparedStore(tmp_path, "topic")
    made.recover(Place(SERVER, 1, 4), 0)
    return made


def write(
    store: PreparedStore, xid: bytes = XID, position: int = 100, frames: list[tuple[int, bytes]] = FRAMES
) -> None:
    writer = store.begin(xid)
    for frame in frames:
        store.write(writer, [encode_frame(*frame)])
    store.prepare(writer, Place(SERVER, 1, position), 0)


def found(store: PreparedStore, xid: bytes = XID) -> list[Frame]:
    file = store.find(xid)
    assert file is not None
    return [frame for piece in store.read(file) for frame in piece]


def read_whole(path: Path) -> None:
    file = read_head(Files(), path)
    assert isinstance(file, PreparedFile)
    list(prepared_file.read_frames(Files(), file))


def opened(path: Path, position: int = 1000, server: str = SERVER) -> PreparedStore:
    again = PreparedStore(path, "topic")
    again.recover(Place(server, 1, position), 5)
    return again


def test_golden_bytes() -> None:
    assert encode_head(b"x").hex() == "425758410100010078a08d7dcc"
    assert encode_slot(5, Place("s", 7, 9)).hex() == "0500000000000000070000000000000009000000000000000100738aaade18"
    assert encode_frame(2, b"ab").hex() == "0200000002143f94376162"


def test_what_was_prepared_is_there_again(store: PreparedStore, tmp_path: Path) -> None:
    write(store)
    assert store.unsynced_count == 1
    store.sync()
    assert not store.needs_sync
    wanted = [Frame(*frame) for frame in FRAMES]
    assert found(store) == wanted
    again = opened(tmp_path)
    assert again.xids == [XID]
    assert found(again) == wanted


def test_rows_since_a_savepoint_are_cut_off(store: PreparedStore) -> None:
    writer = store.begin(XID)
    store.write(writer, [encode_frame(2, b"keep")])
    kept = writer.size_bytes
    store.write(writer, [encode_frame(2, b"drop" * 1000)])
    store.cut(writer, kept)
    store.write(writer, [encode_frame(2, b"later")])
    store.prepare(writer, Place(SERVER, 1, 100), 0)
    assert found(store) == [Frame(2, b"keep"), Frame(2, b"later")]


def test_what_lies_beyond_the_logs_end_goes(store: PreparedStore, tmp_path: Path) -> None:
    write(store, b"here", 100)
    write(store, b"beyond", 200)
    store.begin(b"open")
    store.sync()
    again = opened(tmp_path, 100)
    assert again.xids == [b"here"]
    assert len(prepared_paths(Files(), tmp_path)) == 1


def test_an_end_beyond_the_logs_end_is_taken_back(store: PreparedStore, tmp_path: Path) -> None:
    write(store)
    store.finish(XID, Place(SERVER, 1, 300), 17)
    store.sync()
    again = opened(tmp_path, 299)
    assert found(again) == [Frame(*frame) for frame in FRAMES]
    again.sync()
    assert opened(tmp_path, 300).xids == [XID]


def test_a_file_goes_when_the_log_is_durable_beyond_its_end(store: PreparedStore, tmp_path: Path) -> None:
    write(store)
    store.finish(XID, Place(SERVER, 1, 300), 17)
    store.delete_ended(18)
    assert prepared_paths(Files(), tmp_path), "it was not even durable itself"
    store.sync()
    store.delete_ended(17)
    assert prepared_paths(Files(), tmp_path)
    store.delete_ended(18)
    assert not prepared_paths(Files(), tmp_path)


def test_an_end_that_was_reached_is_deleted_by_the_next_run(store: PreparedStore, tmp_path: Path) -> None:
    write(store)
    store.finish(XID, Place(SERVER, 1, 300), 17)
    store.sync()
    again = opened(tmp_path, 300)
    assert again.xids == []
    again.delete_ended(5)
    assert prepared_paths(Files(), tmp_path), "what the log ended with need not be durable yet"
    again.delete_ended(6)
    assert not prepared_paths(Files(), tmp_path)


def test_places_of_another_server_lie_before_the_logs_end(store: PreparedStore, tmp_path: Path) -> None:
    write(store, position=5000)
    store.sync()
    assert opened(tmp_path, 10, "mysql other").xids == [XID]


def test_an_id_that_comes_again_replaces_the_one_before(store: PreparedStore, tmp_path: Path) -> None:
    write(store, frames=[(2, b"old")])
    write(store, position=200, frames=[(2, b"new")])
    store.sync()
    assert found(store) == [Frame(2, b"new")]
    again = opened(tmp_path)
    assert found(again) == [Frame(2, b"new")]
    again.delete_ended(6)
    assert len(prepared_paths(Files(), tmp_path)) == 1, "the one before goes also when the run ended before it could"


def test_what_has_no_rows_in_the_end_is_whole(store: PreparedStore, tmp_path: Path) -> None:
    write(store, frames=[])
    store.sync()
    again = opened(tmp_path)
    assert again.notes == []
    assert found(again) == []
    again.finish(XID, Place(SERVER, 1, 300), 17)
    again.sync()
    assert opened(tmp_path).xids == []


class Watched(Files):
    """Knows which descriptors are open, and does something while the first of them is flushed."""

    def __init__(self) -> None:
        self.meanwhile: Callable[[], None] = lambda: None
        self.open_now: set[int] = set()

    def open(self, path: Path, *, create: bool = False, write: bool = True) -> int:
        descriptor = super().open(path, create=create, write=write)
        self.open_now.add(descriptor)
        return descriptor

    def close(self, descriptor: int) -> None:
        self.open_now.remove(descriptor)
        super().close(descriptor)

    def sync(self, descriptor: int) -> None:
        meanwhile, self.meanwhile = self.meanwhile, lambda: None
        meanwhile()
        assert descriptor in self.open_now
        super().sync(descriptor)


def test_a_session_that_ends_during_a_flush_closes_nothing_twice(tmp_path: Path) -> None:
    """Another file may have the number of a descriptor by then."""
    files = Watched()
    store = PreparedStore(tmp_path, "topic", files)
    write(store, b"one")
    write(store, b"two")
    files.meanwhile = store.close
    store.sync()
    assert not files.open_now


def test_a_flush_that_fails_leaves_nothing_open(tmp_path: Path) -> None:
    files = Watched()
    store = PreparedStore(tmp_path, "topic", files)
    write(store, b"one")
    write(store, b"two")

    def fail() -> None:
        raise OSError(5, "Input/output error")

    files.meanwhile = fail
    with pytest.raises(LogWriteError):
        store.sync()
    store.close()
    assert not files.open_now


def test_every_cut_of_a_file_is_noticed(store: PreparedStore, tmp_path: Path) -> None:
    write(store, frames=[(1, b"table"), (2, b"rows")])
    store.sync()
    (path,) = prepared_paths(Files(), tmp_path)
    whole = path.read_bytes()
    for size in range(len(whole)):
        path.write_bytes(whole[:size])
        try:
            head = read_head(Files(), path)
        except CorruptLog:
            continue
        assert head is None
        assert size <= 256, "a file whose slot is there is never taken for one that was not prepared"


def test_every_damaged_byte_that_counts_is_noticed(store: PreparedStore, tmp_path: Path) -> None:
    write(store, frames=[(1, b"table"), (2, b"rows")])
    store.sync()
    (path,) = prepared_paths(Files(), tmp_path)
    whole = path.read_bytes()
    used = [*range(8 + len(XID) + 4), *range(256, 256 + 26 + len(SERVER) + 4), *range(1024, len(whole))]
    for position in used:
        spoiled = bytearray(whole)
        spoiled[position] ^= 0x40
        path.write_bytes(spoiled)
        with pytest.raises(CorruptLog):
            read_whole(path)


def test_a_damaged_file_is_set_aside_with_a_sentence(store: PreparedStore, tmp_path: Path) -> None:
    write(store)
    store.sync()
    (path,) = prepared_paths(Files(), tmp_path)
    path.write_bytes(path.read_bytes()[:-1])
    again = opened(tmp_path)
    assert again.xids == []
    assert "read from the binlog again" in again.notes[0]
    assert [one.name for one in tmp_path.iterdir()] == [f"{path.name}.damaged"]


def test_a_refusal_of_the_system_names_topic_and_reason(store: PreparedStore, tmp_path: Path) -> None:
    write(store)
    store.sync()
    (path,) = prepared_paths(Files(), tmp_path)
    path.unlink()
    with pytest.raises(LogWriteError, match="the log of topic topic could not be written"):
        store.finish(XID, Place(SERVER, 1, 300), 17)


def test_damage_is_told_of_by_verify(store: PreparedStore, tmp_path: Path) -> None:
    write(store)
    store.begin(b"open")
    store.sync()
    assert verify(tmp_path).problems == []
    path = prepared_paths(Files(), tmp_path)[0]
    spoiled = bytearray(path.read_bytes())
    spoiled[2000] ^= 1
    path.write_bytes(spoiled)
    (problem,) = verify(tmp_path).problems
    assert problem.path == path
    assert "does not match its checksum" in problem.what


def test_a_copy_keeps_what_is_finished_and_deleted_while_it_is_made(store: PreparedStore, tmp_path: Path) -> None:
    write(store, b"before")
    store.sync()
    copy = PreparedCopy(Files(), tmp_path)
    write(store, b"since", 200)
    store.finish(b"before", Place(SERVER, 1, 300), 17)
    store.sync()
    store.delete_ended(18)
    (target := tmp_path / "target").mkdir()
    copy.run(target)
    copy.close()
    assert opened(target, 299).xids == [b"before", b"since"]
    assert opened(target, 300).xids == [b"before", b"since"], "the end was taken back by the run before"


@given(st.lists(st.tuples(st.integers(0, 255), st.binary(max_size=300)), max_size=20), st.integers(0, 5000))
def test_frames_come_back_and_a_torn_one_waits(frames: list[tuple[int, bytes]], cut: int) -> None:
    data = b"".join(encode_frame(*frame) for frame in frames)
    assert decode_frames(data) == ([Frame(*frame) for frame in frames], len(data))
    some, taken = decode_frames(data[:cut])
    assert some == [Frame(*frame) for frame in frames][: len(some)]
    assert (
        taken == sum(prepared_file.FRAME_OVERHEAD_BYTES + len(frame.content) for frame in some) <= min(cut, len(data))
    )
