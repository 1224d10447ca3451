"""Operations on a source that need not be a channel's yet: what is in it to track, and the account to read it with.

Owns how a source is named in a call (`SourceArguments`), and what is remembered of accounts that were created here, so
that the release of a channel can say what is to be taken back. Passwords come in and go on to the source; nothing here
keeps, shows or logs one. An administrator's credentials serve one call.

Left to others: everything that talks to a source (`plane.sources`, made by `broker/app.py` of `capture/browse.py` and
`capture/account.py`), channels (`channels.py`).
"""

from __future__ import annotations

import json
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, Literal, Protocol
from urllib.parse import quote, urlencode

import msgspec
from msgspec import Struct

from broker.config import Secret
from broker.operations.operation import Operation, OperationError, Refusal
from storage.errors import StorageError
from storage.log import resident

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from broker.operations.plane import ControlPlane
    from storage.catalog import Catalog

DEFAULT_PORT: Final = 3306
PAGE_SIZE: Final = 100
PAGE_SIZE_MAX: Final = 1000
_CREATED: Final = "created_accounts"
"""A setting of the catalog: what `create_account` made, JSON."""


class SourceArguments(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A source: `url` as in the configuration file, or its parts. An empty text is nothing given.

    `host` may be several with commas between, each with a `:port` of its own if it is not `port`.
    """

    url: Secret | None = None
    kind: Literal["mysql", "mariadb", "polardb"] = "mysql"
    host: str = ""
    port: int = DEFAULT_PORT
    username: str = ""
    password: Secret = msgspec.field(default_factory=lambda: Secret(""))
    tls: Literal["disabled", "preferred", "required", "verify_ca", "verify_identity"] = "preferred"
    tls_ca: str | None = None
    tls_cert: str | None = None
    tls_key: str | None = None

    def address(self) -> Secret:
        """The source's address as one URL. Raises OperationError that names the part that is missing."""
        if self.url is not None and self.url.reveal():
            if self.host or self.username or self.password.reveal():
                sentence = "found a url and parts of an address; allowed is one of both"
                raise OperationError(Refusal.INVALID, f"source.url: {sentence}", field="source.url")
            return self.url
        for name in ("host", "username"):
            if not getattr(self, name):
                raise OperationError(
                    Refusal.INVALID,
                    f"source.{name}: found nothing; give host, username and password of the source, or its url",
                    field=f"source.{name}",
                )
        if not 0 < self.port < 1 << 16:
            sentence = f"source.port: found {self.port}; allowed is a number from 1 to 65535"
            raise OperationError(Refusal.INVALID, sentence, field="source.port")
        credentials = f"{quote(self.username, safe='')}:{quote(self.password.reveal(), safe='')}"
        hosts = ",".join(_with_port(host.strip(), self.port) for host in self.host.split(","))
        options = {name: getattr(self, name) for name in ("tls_ca", "tls_cert", "tls_key") if getattr(self, name)}
        if self.tls != "preferred":
            options = {"tls": self.tls} | options
        return Secret(f"{self.kind}://{credentials}@{hosts}{f'/?{urlencode(options)}' if options else ''}")


def _with_port(host: str, port: int) -> str:
    """A host with a port: IPv6 addresses are bracketed, of others a single colon begins a port of their own."""
    if host.startswith("["):
        return host if "]:" in host else f"{host}:{port}"
    if host.count(":") > 1:
        return f"[{host}]:{port}"
    return host if ":" in host else f"{host}:{port}"


class Administrator(Struct, frozen=True, forbid_unknown_fields=True):
    """Credentials that may create users and grant; they serve one call and are not kept."""

    username: str
    password: Secret


# ---- databases and tables ----


class ListDatabasesArguments(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`source`, or in its place a channel, whose own account looks then. `search`: a part of the name, in any case."""

    source: SourceArguments | None = None
    channel_id: str | None = None
    search: str = ""
    page: int = 1
    page_size: int = PAGE_SIZE


class DatabaseRow(Struct, frozen=True):
    """`object` is the database's entry in a channel's `objects`; `tables` counts those that the account may see."""

    name: str
    object: str
    tables: int


class DatabaseList(Struct, frozen=True):
    """One page of the databases that match; `total` counts them all."""

    databases: tuple[DatabaseRow, ...]
    total: int
    page: int
    page_size: int


class ListTablesArguments(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """As for databases; only of `databases`, if any are named. A `search` with a dot is for `database.table`."""

    source: SourceArguments | None = None
    channel_id: str | None = None
    databases: tuple[str, ...] = ()
    search: str = ""
    page: int = 1
    page_size: int = PAGE_SIZE


class TableRow(Struct, frozen=True):
    """`object` is the table's entry in a channel's `objects`."""

    database: str
    name: str
    object: str


class TableList(Struct, frozen=True):
    """One page of the tables that match; `total` counts them all."""

    tables: tuple[TableRow, ...]
    total: int
    page: int
    page_size: int


async def list_databases(plane: ControlPlane, arguments: ListDatabasesArguments) -> DatabaseList:
    """A page of the source's databases; those that servers keep for themselves are left out."""
    url, offset = await _source_of(plane, arguments), _offset(arguments)
    with _told(plane):
        total, found = await plane.sources.databases(url, arguments.search, offset, arguments.page_size)
    rows = tuple(DatabaseRow(one.name, one.object, one.tables) for one in found)
    return DatabaseList(rows, total, arguments.page, arguments.page_size)


async def list_tables(plane: ControlPlane, arguments: ListTablesArguments) -> TableList:
    """A page of the source's tables; views have no rows of their own and are left out."""
    url, offset = await _source_of(plane, arguments), _offset(arguments)
    with _told(plane):
        total, found = await plane.sources.tables(
            url, arguments.databases, arguments.search, offset, arguments.page_size
        )
    rows = tuple(TableRow(one.database, one.name, one.object) for one in found)
    return TableList(rows, total, arguments.page, arguments.page_size)


async def _source_of(plane: ControlPlane, arguments: ListDatabasesArguments | ListTablesArguments) -> str:
    if (arguments.source is None) == (arguments.channel_id is None):
        sentence = "found neither source nor channel_id, or both; give one of them"
        raise OperationError(Refusal.INVALID, sentence, field="source")
    if arguments.source is not None:
        return arguments.source.address().reveal()
    assert arguments.channel_id is not None
    try:
        return plane.channels.source_address(arguments.channel_id).reveal()
    except KeyError:
        raise OperationError(Refusal.NOT_FOUND, f"there is no channel {arguments.channel_id!r}") from None


def _offset(arguments: ListDatabasesArguments | ListTablesArguments) -> int:
    for name, greatest in (("page", 1 << 31), ("page_size", PAGE_SIZE_MAX)):
        found = getattr(arguments, name)
        if not 1 <= found <= greatest:
            raise OperationError(
                Refusal.INVALID, f"{name}: found {found}; allowed is a number from 1 to {greatest}", field=name
            )
    return (arguments.page - 1) * arguments.page_size


# ---- the account ----


class PreviewAccountArguments(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The source with the account that is to be made; without `objects` it may read definitions everywhere.

    `account_host` None: the host that the source sees this machine as. An administrator lets more be told.
    """

    source: SourceArguments
    objects: tuple[str, ...] = ()
    administrator: Administrator | None = None
    account_host: str | None = None


class CreateAccountArguments(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """As for the preview."""

    source: SourceArguments
    administrator: Administrator
    objects: tuple[str, ...] = ()
    account_host: str | None = None


class AccountView(Struct, frozen=True):
    """An account at a source: the statements that make it, with a placeholder for the password, and the lines of
    my.cnf that the server lacks. `exists`: it is there already, and the statements only grant.

    `is_server_known` False: the source lets nobody look without an administrator, and the lines are those that every
    server needs. `whitelist_addresses` are what the source must admit, the surest first.
    """

    account: str
    exists: bool
    version: str
    statements: tuple[str, ...]
    my_cnf: tuple[str, ...]
    is_server_known: bool
    whitelist_addresses: tuple[str, ...]


async def preview_account(plane: ControlPlane, arguments: PreviewAccountArguments) -> AccountView:
    """What would be run, and what my.cnf lacks; changes nothing."""
    url, administrator = arguments.source.address().reveal(), _credentials(arguments.administrator)
    with _told(plane):
        plan = await plane.sources.plan_account(url, arguments.objects, administrator, arguments.account_host or None)
    return _view(plan, exists=plan.exists)


async def create_account(plane: ControlPlane, arguments: CreateAccountArguments) -> AccountView:
    """Make the account by an administrator's credentials, which are used for this and not kept."""
    url, administrator = arguments.source.address().reveal(), _credentials(arguments.administrator)
    assert administrator is not None
    with _told(plane):
        plan = await plane.sources.create_account(url, arguments.objects, administrator, arguments.account_host or None)
    try:
        await plane.catalog.run(note_created, plane.catalog, plane.sources.shown(url), plan.account)
    except StorageError as error:
        sentence = f"the account {plan.account} was created, and no release will remind of it: {error}"
        raise OperationError(Refusal.STORAGE_UNAVAILABLE, sentence) from None
    return _view(plan, exists=True)


def _credentials(administrator: Administrator | None) -> tuple[str, str] | None:
    return None if administrator is None else (administrator.username, administrator.password.reveal())


def _view(plan: AccountPlan, *, exists: bool) -> AccountView:
    return AccountView(
        account=plan.account,
        exists=exists,
        version=plan.version,
        statements=plan.statements,
        my_cnf=plan.my_cnf,
        is_server_known=plan.is_server_known,
        whitelist_addresses=plan.seen_from.admitted,
    )


# ---- what is to be taken back ----


def note_created(catalog: Catalog, source: str, account: str) -> None:
    """Remember that the account of a source, as it is shown, was created here. For `Catalog.run`."""
    known = [one for one in _created(catalog) if one != [_place(source), account]]
    catalog.set_setting(_CREATED, json.dumps([*known, [_place(source), account]]))


def _created(catalog: Catalog) -> list[list[str]]:
    found: list[list[str]] = json.loads(catalog.setting(_CREATED) or "[]")
    return found


def _place(source: str) -> str:
    """User and hosts of a source as it is shown."""
    return source.partition("://")[2]


async def what_to_take_back(plane: ControlPlane, channel_id: str) -> tuple[str, ...]:
    """What remains at the source when a channel is released, in lines for people: the account that was created here,
    and the whitelist's entry. What other channels go on using is not among it.

    Raises KeyError for an unknown channel.
    """
    sources = {view.id: view.source for view in await resident(plane.channels.views)}
    source = sources.pop(channel_id)
    others = {_place(other) for other in sources.values()}
    place, hosts = _place(source), _place(source).rpartition("@")[2]
    if source.startswith("file:") or not hosts:
        return ()
    created = [] if place in others else await plane.catalog.run(_created, plane.catalog)
    lines = [f"at {hosts}: DROP USER {account};" for where, account in created if where == place]
    if hosts not in {other.rpartition("@")[2] for other in others}:
        local = await plane.sources.local_addresses(f"mysql://any@{hosts}")
        lines += [f"in whitelist and firewall of {hosts}: the address of this machine, {one}" for one in local]
    return tuple(lines)


# ---- plumbing ----


class AccountPlan(Protocol):
    """An account as capture would make it (`capture/account.py`)."""

    @property
    def account(self) -> str: ...
    @property
    def exists(self) -> bool: ...
    @property
    def version(self) -> str: ...
    @property
    def statements(self) -> tuple[str, ...]: ...
    @property
    def my_cnf(self) -> tuple[str, ...]: ...
    @property
    def is_server_known(self) -> bool: ...
    @property
    def seen_from(self) -> Any: ...


class SourceDesk(Protocol):
    """What capture does for these operations (`capture/desk.py`); whatever goes wrong is one of `failures`, and of
    `mistakes` too if it is the caller's doing.
    """

    failures: tuple[type[Exception], ...]
    mistakes: tuple[type[Exception], ...]

    async def databases(self, url: str, search: str, offset: int, limit: int) -> tuple[int, Sequence[Any]]: ...

    async def tables(
        self, url: str, within: Sequence[str], search: str, offset: int, limit: int
    ) -> tuple[int, Sequence[Any]]: ...

    async def plan_account(
        self, url: str, objects: Sequence[str], administrator: tuple[str, str] | None, host: str | None
    ) -> AccountPlan: ...

    async def create_account(
        self, url: str, objects: Sequence[str], administrator: tuple[str, str], host: str | None
    ) -> AccountPlan: ...

    async def local_addresses(self, url: str) -> tuple[str, ...]: ...

    def shown(self, url: str) -> str: ...


@contextmanager
def _told(plane: ControlPlane) -> Iterator[None]:
    """What a source says no to becomes the refusal of the operation."""
    try:
        yield
    except plane.sources.failures as error:
        refusal = Refusal.INVALID if isinstance(error, plane.sources.mistakes) else Refusal.SOURCE_UNAVAILABLE
        raise OperationError(refusal, str(error)) from None


ROWS: Final = (
    Operation(
        "list_databases",
        "POST",
        "/sources/databases",
        "sources",
        "Databases of a source, searched and paged",
        ListDatabasesArguments,
        DatabaseList,
        list_databases,
    ),
    Operation(
        "list_tables",
        "POST",
        "/sources/tables",
        "sources",
        "Tables of a source, searched and paged",
        ListTablesArguments,
        TableList,
        list_tables,
    ),
    Operation(
        "preview_account",
        "POST",
        "/sources/account/preview",
        "sources",
        "The statements that would make a channel's account",
        PreviewAccountArguments,
        AccountView,
        preview_account,
    ),
    Operation(
        "create_account",
        "POST",
        "/sources/account",
        "sources",
        "Make a channel's account at its source",
        CreateAccountArguments,
        AccountView,
        create_account,
        is_change=True,
    ),
)
