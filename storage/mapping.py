"""Read-only mappings of files, as views that keep them alive.

Owns the rule for a mapping's life: nobody closes one. A view holds the mapping, the mapping holds the pages; a file
may be unlinked, cut behind its visible end, or replaced here by a longer mapping while old views are read and sent.
When the last view is gone the mapping goes, with the interpreter's reference counts as the only bookkeeping. So a
slow consumer pins a segment it reads, and nothing else.

Beside its pages a mapping holds a descriptor of its file, so that what is missing can be read by a call that fails
(`storage.cold`), also when the file has lost its name.

Invariant: nobody reads a byte beyond the end of the file (that would be SIGBUS); callers read only what is visible,
and what is visible is never cut.
"""

from __future__ import annotations

import weakref
from itertools import count
from pathlib import Path
from typing import Final

from storage.errors import LogReadError
from storage.files import Files
from storage.residency import address_of

_NOTHING: Final = memoryview(b"")
_numbers: Final = count()


class Mapping:
    """One mapping of a file as long as it was at that moment, and a descriptor of that file."""

    __slots__ = ("__weakref__", "address", "descriptor", "files", "number", "path", "view")

    def __init__(self, files: Files, path: Path) -> None:
        self.files = files
        self.path = path
        self.number = next(_numbers)
        """Names the mapping among all there ever were, without keeping it."""
        self.descriptor = files.open(path, write=False)
        weakref.finalize(self, files.close, self.descriptor)
        size = files.size(self.descriptor)
        mapped = files.map(self.descriptor, size) if size else None
        self.address = address_of(mapped) if mapped is not None else 0
        self.view = memoryview(mapped) if mapped is not None else _NOTHING


class MappedFile:
    """The readable bytes of one file: mapped at first use, again when the file has outgrown the mapping."""

    __slots__ = ("_files", "_path", "mapping", "view")

    def __init__(self, files: Files, path: Path) -> None:
        self._files = files
        self._path = path
        self.mapping: Mapping | None = None
        self.view: memoryview = _NOTHING
        """What is mapped now; `covering` makes it at least as long as needed."""

    def covering(self, size: int) -> memoryview:
        """A view of the whole mapping, at least `size` bytes if the file has them, else of the whole file."""
        if self.view.nbytes < size:
            self.mapping_of(size)
        return self.view

    def mapping_of(self, size: int) -> Mapping:
        """The mapping that `covering` shows.

        Raises:
            FileNotFoundError: there is no such file.
            LogReadError: the system does not let it be opened or mapped: out of descriptors, or of address space.
        """
        if self.mapping is None or self.view.nbytes < size:
            try:
                self.mapping = Mapping(self._files, self._path)
            except FileNotFoundError:
                raise
            except OSError as error:
                raise LogReadError(
                    f"{self._path} cannot be opened for reading ({error.strerror or error}); it is tried again when it "
                    f"is asked for again"
                ) from error
            self.view = self.mapping.view
        return self.mapping

    def forget(self) -> None:
        """Drop the mapping; it stays for those who hold views of it."""
        self.mapping = None
        self.view = _NOTHING
