"""Position files and the chain of GTID intervals in them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storage.errors import CorruptLog
from storage.files import Files
from storage.intervals import CHAIN_LENGTH_MIN, IntervalChain
from storage.log import GtidInterval, SourcePosition
from storage.positions import (
    ENTRY_BYTES,
    Kind,
    PositionEntry,
    PositionFile,
    PositionHeader,
    decode_entry,
    encode_entry,
    encode_header,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

HEADER = PositionHeader(7000, 1_700_000_000_000, -1, b"a snapshot")
ENTRY = PositionEntry(
    Kind.COMMIT, 3, 7010, 999, 120, 0xDEADBEEF, 1_700_000_000_001, 1_600_000_000_000, 7005, 42, 4096,
    GtidInterval(b"sixteen bytes id", 5, 9),
)  # fmt: skip
GOLDEN_HEADER = "4257534f555243450001000000340000000000001b580000018bcfe56800ffffffffffffffff"  # to the checksum


def test_the_header_is_laid_out_as_described() -> None:
    data = encode_header(HEADER)
    assert data[:38].hex() == GOLDEN_HEADER
    assert data[42:] == HEADER.snapshot


def test_the_entry_is_laid_out_as_described() -> None:
    data = encode_entry(ENTRY, 7000, 4)
    assert len(data) == ENTRY_BYTES == 144
    fields = ["01", "10", "0000", "00000003", f"{7010:016x}", f"{999:016x}", f"{120:08x}", "deadbeef"]
    fields += [f"{1_700_000_000_001:016x}", f"{1_600_000_000_000:016x}", f"{7005:016x}", f"{42:016x}", f"{4096:016x}"]
    assert data[:72].hex() == "".join(fields)
    assert data[72:88].hex() == "00000000000000050000000000000009"
    assert data[88:140] == b"sixteen bytes id".ljust(52, b"\0")


def test_an_entry_verifies_in_its_own_place_only() -> None:
    data = encode_entry(ENTRY, 7000, 4)
    assert decode_entry(data, 7000, 4) == ENTRY
    assert decode_entry(data, 7000, 5) is None
    assert decode_entry(data, 8000, 4) is None
    assert all(decode_entry(data[:length], 7000, 4) is None for length in range(ENTRY_BYTES))
    for position in range(ENTRY_BYTES):
        changed = bytearray(data)
        changed[position] ^= 0x20
        assert decode_entry(bytes(changed), 7000, 4) is None


@given(
    kind=st.sampled_from(Kind),
    numbers=st.lists(st.integers(-(2**63), 2**63 - 1), min_size=7, max_size=7),
    interval=st.none() | st.builds(GtidInterval, st.binary(min_size=1, max_size=52), st.integers(0), st.integers(0)),
)
def test_entries_round_trip(kind: Kind, numbers: list[int], interval: GtidInterval | None) -> None:
    if interval is not None and max(interval.first, interval.last) >= 2**63:
        interval = None
    a, b, c, d, e, f, g = numbers
    entry = PositionEntry(kind, -1, a, b, 2**32 - 1, 0, c, d, e, f, g, interval)
    assert decode_entry(encode_entry(entry, 1, 1), 1, 1) == entry


def test_a_file_keeps_header_and_entries(tmp_path: Path) -> None:
    files, path = Files(), tmp_path / "0.source"
    file = PositionFile.create(files, path, HEADER)
    file.append([ENTRY, ENTRY._replace(end_offset=7011)])
    file.append([ENTRY._replace(end_offset=7012)])
    file.close()
    file = PositionFile.open(files, path, write=True)
    assert (file.header, file.count) == (HEADER, 3)
    assert [entry.end_offset for _, entry in file.entries_before(3) if entry] == [7012, 7011, 7010]
    assert (file.entry(-1), file.entry(3)) == (None, None)
    file.cut(1)
    assert (file.count, file.entry(0)) == (1, ENTRY)
    file.close()
    assert path.stat().st_size == len(encode_header(HEADER)) + ENTRY_BYTES
    assert [p.name for p in tmp_path.iterdir()] == ["0.source"]


def test_every_prefix_and_every_changed_byte_of_the_header_is_refused(tmp_path: Path) -> None:
    data = encode_header(HEADER)
    path = tmp_path / "0.source"
    for length in range(len(data)):
        path.write_bytes(data[:length])
        with pytest.raises(CorruptLog, match=r"0\.source"):
            PositionFile.open(Files(), path, write=False)
    for position in range(len(data)):
        changed = bytearray(data)
        changed[position] ^= 1
        path.write_bytes(changed)
        with pytest.raises(CorruptLog, match=r"0\.source"):
            PositionFile.open(Files(), path, write=False)


def test_a_snapshot_beyond_the_limit_is_our_bug() -> None:
    with pytest.raises(ValueError, match="exceeds"):
        encode_header(HEADER._replace(snapshot=bytes((16 << 20) + 1)))


class Chain:
    """A chain and its file, driven commit by commit."""

    def __init__(self, path: Path) -> None:
        self.file = PositionFile.create(Files(), path, HEADER)
        self.chain = IntervalChain()

    def commit(self, *gtids: GtidInterval | None) -> None:
        positions = [SourcePosition(1, 100, gtid) for gtid in gtids]
        self.file.append(self.chain.entries(positions, self.file.count, self._make))

    def _make(
        self, kind: Kind, previous: int, position: SourcePosition, interval: GtidInterval | None
    ) -> PositionEntry:
        return PositionEntry(kind, previous, 0, 0, 0, 0, 0, 0, 0, position.file_number, position.position, interval)

    def loaded(self) -> IntervalChain:
        return IntervalChain.load(self.file, self.file.count - 1)

    def links(self) -> int:
        """Entries that recovery follows."""
        count, entry = 0, self.file.entry(self.file.count - 1)
        while entry is not None and entry.previous >= 0:
            entry, count = self.file.entry(entry.previous), count + 1
        return count


def one(key: bytes, number: int) -> GtidInterval:
    return GtidInterval(key, number, number)


@pytest.fixture
def chain(tmp_path: Path) -> Iterator[Chain]:
    chain = Chain(tmp_path / "0.source")
    yield chain
    chain.file.close()


def test_transactions_of_one_source_stay_one_interval_and_one_entry_each(chain: Chain) -> None:
    chain.commit(one(b"a", 5))
    chain.commit(None)
    chain.commit(*(one(b"a", number) for number in range(6, 500)))
    assert chain.loaded().intervals == (GtidInterval(b"a", 5, 499),)
    assert (chain.file.count, chain.links()) == (3, 0)


def test_sources_that_take_turns_cost_a_bounded_chain(chain: Chain) -> None:
    for number in range(1, 3000):
        chain.commit(one(b"ab"[number % 2 : number % 2 + 1], number // 2 + 1))
        assert chain.links() <= CHAIN_LENGTH_MIN
    assert set(chain.loaded().intervals) == {GtidInterval(b"a", 2, 1500), GtidInterval(b"b", 1, 1500)}
    assert chain.file.count < 3000 * 1.02


def test_the_interval_extended_last_is_the_last(chain: Chain) -> None:
    chain.commit(one(b"a", 1), one(b"b", 1), one(b"c", 1), one(b"b", 2))
    assert [interval.key for interval in chain.loaded().intervals] == [b"a", b"c", b"b"]


@given(
    commits=st.lists(
        st.lists(st.tuples(st.sampled_from([b"a", b"b", b"c"]), st.integers(1, 60)), min_size=1, max_size=5),
        min_size=1,
        max_size=60,
    )
)
@settings(max_examples=150)
def test_any_order_of_transactions_is_recovered_as_their_set(
    tmp_path_factory: pytest.TempPathFactory, commits: list[list[tuple[bytes, int]]]
) -> None:
    chain = Chain(tmp_path_factory.mktemp("chain") / "0.source")
    seen: set[tuple[bytes, int]] = set()
    for commit in commits:
        fresh = [gtid for gtid in dict.fromkeys(commit) if gtid not in seen]
        seen |= set(fresh)
        if not fresh:
            continue
        chain.commit(*(one(key, number) for key, number in fresh))
        loaded = chain.loaded().intervals
        assert sum(i.last - i.first + 1 for i in loaded) == len(seen)
        assert {(i.key, n) for i in loaded for n in range(i.first, i.last + 1)} == seen
        assert loaded == chain.chain.intervals
        touching = {(i.key, i.last + 1) for i in loaded} & {(i.key, i.first) for i in loaded}
        assert not touching
    chain.file.close()


class Compared(int):
    """A number that counts how often it is held against another."""

    count = 0

    def __lt__(self, other: int) -> bool:
        Compared.count += 1
        return int(self) < int(other)

    def __le__(self, other: int) -> bool:
        Compared.count += 1
        return int(self) <= int(other)


class Gaps(PositionFile):
    """Entries each of which carries an interval of its own."""

    def entry(self, number: int) -> PositionEntry:
        transaction = Compared(2 * number)
        return ENTRY._replace(
            kind=Kind.COMMIT, previous=number - 1, interval=GtidInterval(b"a", transaction, transaction)
        )


def test_reading_a_chain_of_many_gaps_takes_little_more_than_its_length(tmp_path: Path) -> None:
    count = 5000
    file = Gaps.create(Files(), tmp_path / "0.source", HEADER)
    Compared.count = 0
    assert len(IntervalChain.load(file, count - 1).intervals) == count
    assert Compared.count < 40 * count
    file.close()


def test_a_chain_that_leads_to_damage_is_refused(chain: Chain, tmp_path: Path) -> None:
    chain.commit(one(b"a", 1))
    chain.commit(one(b"b", 1))
    path = tmp_path / "0.source"
    data = bytearray(path.read_bytes())
    data[len(encode_header(HEADER)) + 100] ^= 1
    path.write_bytes(data)
    with pytest.raises(CorruptLog, match="entry 0, which a later one needs"):
        chain.loaded()
