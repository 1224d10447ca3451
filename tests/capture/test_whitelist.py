"""The address by which a source sees this machine, from what answers and from what does not."""

from __future__ import annotations

from typing import Any

import pytest

from capture.errors import SourceUnavailable
from capture.source import ServerRefusal, SourceAddress
from capture.whitelist import seen_from

ADDRESS = SourceAddress.parse("mysql://repl@127.0.0.1:3306")


class Answering:
    """A source that answers a query with these rows, or raises."""

    def __init__(self, answer: list[tuple[Any, ...]] | Exception) -> None:
        self._answer = answer

    async def query(self, sql: str) -> list[tuple[Any, ...]]:
        assert sql == "SELECT USER()"
        if isinstance(self._answer, Exception):
            raise self._answer
        return self._answer


@pytest.mark.parametrize(
    ("answer", "admitted"),
    [
        ([("repl@10.0.0.7",)], ("10.0.0.7", "127.0.0.1")),
        ([("re@pl@gate.example",)], ("gate.example", "127.0.0.1")),
        ([("repl@127.0.0.1",)], ("127.0.0.1",)),
        ([(None,)], ("127.0.0.1",)),
        ([], ("127.0.0.1",)),
        (ServerRefusal("a proxy that does not know the question", 1064), ("127.0.0.1",)),
    ],
)
async def test_a_source_tells_or_the_route_to_it_does(
    answer: list[tuple[Any, ...]] | Exception, admitted: tuple[str, ...]
) -> None:
    assert (await seen_from(Answering(answer), ADDRESS)).admitted == admitted  # type: ignore[arg-type]


async def test_a_source_that_is_gone_is_gone() -> None:
    with pytest.raises(SourceUnavailable):
        await seen_from(Answering(SourceUnavailable("gone")), ADDRESS)  # type: ignore[arg-type]
