from typing import Self, TypeAlias

SOURCES: str

_Row: TypeAlias = tuple[str, bool, int, int, bool, bytes, bytes, object]

class Program:
    def __new__(cls, operations: tuple[_Row, ...], /) -> Self: ...
    def transcode(
        self,
        data: bytes,
        start: int,
        end: int,
        has_before: bool,
        has_after: bool,
        first_id: int,
        head: str,
        tail: str,
        /,
    ) -> list[bytes] | None: ...
