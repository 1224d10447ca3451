"""What is asked of a source that is no channel's: by its address as text, over a connection that ends with the call.

`broker/app.py` hands it to the operations, which know nothing of capture: addresses go in as URLs, structs of plain
values come out, and whatever goes wrong is one of `failures`, whose message is one sentence.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

from msgspec.structs import replace

from capture import account, browse
from capture.errors import CaptureError, SourceRefused
from capture.selection import SelectionError
from capture.source import FILE_SCHEME, SourceAddress, SourceAddressError, open_source
from capture.whitelist import local_addresses
from storage.clock import SystemClock

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from capture.account import AccountPlan
    from capture.browse import DatabaseFound, TableFound
    from capture.source import Source

_READER_ID: Final = 0  # nothing is dumped: a server never learns it


class SourceDesk:
    """One for a server; keeps nothing."""

    failures: tuple[type[Exception], ...] = (CaptureError,)
    mistakes: tuple[type[Exception], ...] = (SourceAddressError, SelectionError)
    """Failures that are the caller's: an address or an object that cannot be read."""

    async def databases(self, url: str, search: str, offset: int, limit: int) -> tuple[int, list[DatabaseFound]]:
        """As `browse.databases`."""
        async with _opened(SourceAddress.parse(url)) as source:
            return await browse.databases(source, search, offset, limit)

    async def tables(
        self, url: str, within: Sequence[str], search: str, offset: int, limit: int
    ) -> tuple[int, list[TableFound]]:
        """As `browse.tables`."""
        async with _opened(SourceAddress.parse(url)) as source:
            return await browse.tables(source, within, search, offset, limit)

    async def plan_account(
        self, url: str, objects: Sequence[str], administrator: tuple[str, str] | None, host: str | None
    ) -> AccountPlan:
        """As `account.plan`; the administrator as user and password."""
        address = _server(url)
        by = None if administrator is None else _as(address, administrator)
        return await account.plan(address, objects, administrator=by, host=host)

    async def create_account(
        self, url: str, objects: Sequence[str], administrator: tuple[str, str], host: str | None
    ) -> AccountPlan:
        """As `account.create`."""
        address = _server(url)
        return await account.create(address, objects, administrator=_as(address, administrator), host=host)

    async def local_addresses(self, url: str) -> tuple[str, ...]:
        """The addresses of this machine on the way to the source; of files none."""
        return await local_addresses(SourceAddress.parse(url))

    def shown(self, url: str) -> str:
        """An address as it may be shown: without the password."""
        return str(SourceAddress.parse(url))


def _as(address: SourceAddress, account_: tuple[str, str]) -> SourceAddress:
    user, password = account_
    return replace(address, user=user, password=password)


def _server(url: str) -> SourceAddress:
    address = SourceAddress.parse(url)
    if address.scheme == FILE_SCHEME:
        raise SourceRefused("binlog files have no accounts; name a MySQL, MariaDB or PolarDB server")
    return address


@asynccontextmanager
async def _opened(address: SourceAddress) -> AsyncIterator[Source]:
    if address.scheme == FILE_SCHEME:
        raise SourceRefused("binlog files do not say which databases there are; write the objects yourself")
    source = open_source(address, _READER_ID, SystemClock())
    try:
        yield source
    finally:
        await source.close()
