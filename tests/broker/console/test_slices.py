"""Long answers: nothing else of the loop waits for the whole of one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.config import Secret
from broker.console import slices as slices_module
from broker.console.slices import PIECE_BYTES, DownloadResponse, SlicedResponse
from broker.operations.operation import Download, encoded


class Row(msgspec.Struct):
    """A part of a result."""

    name: str
    values: tuple[int | str | None, ...]
    inner: dict[str, Any]


class Result(msgspec.Struct):
    """A result."""

    rows: tuple[Row, ...]
    last: Row | None


class Renamed(msgspec.Struct, rename="camel", tag=True):
    """One that JSON shows under other names."""

    long_name: int


class Sparse(msgspec.Struct, omit_defaults=True):
    """One whose defaults JSON leaves out."""

    name: str
    note: str | None = None


values = st.one_of(st.none(), st.integers(-(1 << 53), 1 << 53), st.text(max_size=20))
rows = st.builds(
    Row, st.text(max_size=20), st.lists(values, max_size=4).map(tuple), st.dictionaries(st.text(max_size=5), values)
)


@given(st.one_of(st.builds(Result, st.lists(rows, max_size=5).map(tuple), st.none() | rows), st.lists(rows), values))
def test_the_pieces_are_what_would_be_encoded_at_once(result: Any) -> None:
    assert b"".join(encoded(result)) == msgspec.json.encode(result)


@pytest.mark.parametrize(
    "value", [Renamed(1), Sparse("x"), [Renamed(2), Sparse("y", "z")], (), [], {}, Result((), None)]
)
def test_structs_with_a_form_of_their_own_keep_it(value: Any) -> None:
    assert b"".join(encoded(value)) == msgspec.json.encode(value)


def test_a_secret_in_a_result_is_our_defect() -> None:
    with pytest.raises(AssertionError):
        b"".join(encoded([Secret("x")]))


async def test_others_have_their_turn_between_slices_and_the_body_goes_out_in_pieces(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(slices_module, "SLICE_S", -1.0)
    turns, sent = 0, []

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    async def send(message: Any) -> None:
        sent.append(message)

    response = SlicedResponse(lambda: (b"x" * 1000 for _ in range(1000)))
    busy = asyncio.ensure_future(others())
    await response({}, None, send)  # type: ignore[arg-type]
    busy.cancel()
    assert turns >= 1000
    start, *pieces = sent
    assert dict(start["headers"])[b"content-length"] == b"1000000"
    assert sum(len(piece["body"]) for piece in pieces) == 1_000_000
    assert max(len(piece["body"]) for piece in pieces) <= PIECE_BYTES
    assert [piece["more_body"] for piece in pieces] == [True] * (len(pieces) - 1) + [False]


async def test_an_empty_body_is_sent_too() -> None:
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    await SlicedResponse(list)({}, None, send)  # type: ignore[arg-type]
    assert [message.get("body") for message in sent] == [None, b""]


async def a_file(pieces_made: list[int]) -> AsyncIterator[bytes]:
    try:
        for number in range(1000):
            pieces_made.append(number)
            yield b"x" * (PIECE_BYTES + 1)
            await asyncio.sleep(0)
    finally:
        pieces_made.append(-1)


async def stays() -> Any:
    await asyncio.Event().wait()


async def test_a_file_is_sent_in_pieces_under_its_name() -> None:
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    made: list[int] = []
    await DownloadResponse(Download("a.bin", "application/octet-stream", None, a_file(made)))({}, stays, send)
    start, *pieces = sent
    assert dict(start["headers"])[b"content-disposition"] == b'attachment; filename="a.bin"'
    assert sum(len(piece["body"]) for piece in pieces) == 1000 * (PIECE_BYTES + 1)
    assert max(len(piece["body"]) for piece in pieces) <= PIECE_BYTES
    assert made[-1] == -1


async def test_who_leaves_has_nothing_more_read_for_him() -> None:
    async def send(message: Any) -> None:
        await asyncio.sleep(0)

    async def leaves() -> Any:
        return {"type": "http.disconnect"}

    made: list[int] = []
    await DownloadResponse(Download("a.bin", "application/octet-stream", 9, a_file(made)))({}, leaves, send)
    assert made == [0, -1]
