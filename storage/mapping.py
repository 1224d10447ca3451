"""Read-only mappings of files, as views that keep them alive.

Owns the rule for a mapping's life: nobody closes one. A view holds the mapping, the mapping holds the pages; a file
may be unlinked, cut behind its visible end, or replaced here by a longer mapping while old views are read and sent.
When the last view is gone the mapping goes, with the interpreter's reference counts as the only bookkeeping. So a
slow consumer pins a segment it reads, and nothing else.

Invariant: nobody reads a byte beyond the end of the file (that would be SIGBUS); callers read only what is visible,
and what is visible is never cut.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from storage.files import Files

_NOTHING: Final = memoryview(b"")


class MappedFile:
    """The readable bytes of one file: mapped at first use, again when the file has outgrown the mapping."""

    __slots__ = ("_files", "_path", "view")

    def __init__(self, files: Files, path: Path) -> None:
        self._files = files
        self._path = path
        self.view: memoryview = _NOTHING
        """What is mapped now; `covering` makes it at least as long as needed."""

    def covering(self, size: int) -> memoryview:
        """A view of the whole mapping, at least `size` bytes if the file has them, else of the whole file."""
        if self.view.nbytes < size:
            self._map()
        return self.view

    def forget(self) -> None:
        """Drop the mapping; it stays for those who hold views of it."""
        self.view = _NOTHING

    def _map(self) -> None:
        with self._files.opened(self._path, write=False) as descriptor:
            size = self._files.size(descriptor)
            self.view = memoryview(self._files.map(descriptor, size)) if size else _NOTHING
