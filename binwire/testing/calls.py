"""What is asked of the server: a call's name (`broker/fixture/table.py`), its arguments, and what its result means.

Each area builds its calls in functions that both kinds of channel share; how they are sent is the channel's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, NamedTuple, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

T = TypeVar("T")


class Call(NamedTuple, Generic[T]):
    """One call. `result` makes what the caller gets of the server's answer."""

    name: str
    arguments: Mapping[str, Any]
    result: Callable[[Any], T]


def nothing(result: Any) -> None:
    """Of a call whose answer says only that it is done."""


class Sender(Protocol):
    """What the areas of a plain channel need of it. `_name` is what the server calls it."""

    _name: str

    def _send(self, call: Call[T]) -> T: ...


class AsyncSender(Protocol):
    """What the areas of an asynchronous channel need of it."""

    _name: str

    async def _send(self, call: Call[T]) -> T: ...
