"""Operations on a source that need not be a channel's yet: what is in it to track, and the account to read it with.

Owns how a source is named in a call (`SourceArguments`), and what is remembered of accounts that were created here, so
that the release of a channel can say what is to be taken back. Passwords come in and go on to the source; nothing here
keeps, shows or logs one. An administrator's credentials serve one call.

Left to others: everything that talks to a source (`plane.sources`, made by `broker/app.py` of `capture/browse.py` and
`capture/account.py`), channels (`channels.py`).
"""

from __future__ import annotations

from typing import Final, Literal
from urllib.parse import quote, urlencode

import msgspec
from msgspec import Struct

from broker.config import Secret
from broker.operations.operation import Operation, OperationError, Refusal

DEFAULT_PORT: Final = 3306
TABLES_PAGE_SIZE: Final = 100


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


ROWS: Final[tuple[Operation, ...]] = ()
