"""CRC-32C (Castagnoli), the checksum of record batches and of everything the store writes itself.

Owns the way to the C extension of the `crc32c` package. The package's own `__init__` reads its distribution's
metadata, which costs a tenth of our start-up budget (35 ms), so the extension module is loaded by itself where
that works.
"""

from __future__ import annotations

import importlib.machinery
import importlib.util
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from typing_extensions import Buffer

    Crc32c = Callable[[Buffer, int], int]


def _load() -> Crc32c:
    package = importlib.util.find_spec("crc32c")
    if package is not None and package.submodule_search_locations:
        name = "crc32c._crc32c"
        spec = importlib.machinery.PathFinder.find_spec(name, list(package.submodule_search_locations))
        if spec is not None and spec.loader is not None:
            module = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(module)
            extension: Crc32c = module.crc32c
            return extension
    from crc32c import crc32c as function

    return function


_crc32c: Final = _load()


def crc32c(data: Buffer, value: int = 0) -> int:
    """Checksum of `data`, continuing from `value`, the checksum of what came before it."""
    return _crc32c(data, value)
