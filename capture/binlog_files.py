"""Which binlog files there are: those a server lists, or those a `file://` address means, in the order of writing.

    /data/mysql-bin.000042,mysql-bin.000043    these files
    /data/mysql-bin.index                      the files a server's index names, one a line; a relative name counts from
                                               the index's folder, an absolute one that is not there is looked for in it
    /data                                      the one index in a folder, else its one run of numbered files

Invariant: of one binlog's own names none is missing between two others, and none comes before an older one. Files whose
names are not those of one binlog are taken in the order given and called `binlog.000001` and so on: nothing tells
whether they belong together.
"""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from capture.errors import SourceRefused
from capture.position import BINLOG_MAGIC_BYTES, BinlogPosition, PositionError, file_name

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

INDEX_SUFFIX = ".index"


class BinlogFile(NamedTuple):
    """A binlog file's name, and its size: where the last whole event ends."""

    name: str
    size_bytes: int

    @property
    def beginning(self) -> BinlogPosition:
        return BinlogPosition(self.name, BINLOG_MAGIC_BYTES)

    @property
    def end(self) -> BinlogPosition:
        return BinlogPosition(self.name, self.size_bytes)


def find_files(given: Sequence[Path]) -> list[Path]:
    """The binlog files that these paths mean. Blocking. Raises SourceRefused."""
    try:
        found = [path for one in given for path in _meant_by(one)]
    except OSError as error:
        raise SourceRefused(f"{error.filename} cannot be read: {error.strerror}") from None
    _require_sequence(found)
    return found


def binlog_names(paths: Sequence[Path]) -> list[str]:
    """What the files are called: their own names if these are one binlog's, else numbered from 1."""
    if _own_numbers(paths):
        return [path.name for path in paths]
    return [file_name("binlog", number) for number, _ in enumerate(paths, start=1)]


def _meant_by(path: Path) -> Iterator[Path]:
    if path.is_dir():
        yield from _in_folder(path)
    elif path.name.endswith(INDEX_SUFFIX):
        yield from _in_index(path)
    else:
        yield path


def _in_index(index: Path) -> Iterator[Path]:
    names = [line.strip() for line in index.read_bytes().decode("utf-8", "surrogateescape").splitlines()]
    if not any(names):
        raise SourceRefused(f"the index {index} names no binlog file")
    for name in filter(None, names):
        path = index.parent / name
        yield path if path.exists() else index.parent / path.name


def _in_folder(folder: Path) -> Iterator[Path]:
    indexes = sorted(folder.glob(f"*{INDEX_SUFFIX}"))
    if len(indexes) == 1:
        yield from _in_index(indexes[0])
        return
    if indexes:
        names = ", ".join(index.name for index in indexes)
        raise SourceRefused(f"the folder {folder} has several indexes ({names}); name the one to read")
    numbered = sorted((path for path in folder.iterdir() if _position(path) is not None), key=_order)
    bases = {path.name.rpartition(".")[0] for path in numbered}
    if len(bases) != 1:
        found = f"the binlogs {', '.join(sorted(bases))}" if bases else "no file with a number after its last dot"
        raise SourceRefused(f"the folder {folder} has {found}; name the files to read, or their index")
    yield from numbered


def _position(path: Path) -> BinlogPosition | None:
    position = BinlogPosition(path.name, BINLOG_MAGIC_BYTES)
    try:
        return position if position.number >= 0 else None
    except PositionError:
        return None


def _order(path: Path) -> int:
    return BinlogPosition(path.name, BINLOG_MAGIC_BYTES).number


def _own_numbers(paths: Sequence[Path]) -> list[int]:
    """The numbers in the files' names if they are all of one binlog, else none."""
    positions = [position for path in paths if (position := _position(path)) is not None]
    if len(positions) < len(paths) or len({position.base for position in positions}) != 1:
        return []
    return [position.number for position in positions]


def _require_sequence(paths: Sequence[Path]) -> None:
    for (before, after), (number, following) in zip(pairwise(paths), pairwise(_own_numbers(paths)), strict=False):
        if following == number + 1:
            continue
        if following <= number:
            raise SourceRefused(
                f"the binlog file {after.name} was written before {before.name}; name the files in their order"
            )
        missing = file_name(before.name.rpartition(".")[0], number + 1)
        raise SourceRefused(
            f"between the binlog files {before.name} and {after.name} {missing} is missing: its changes would be lost"
        )
