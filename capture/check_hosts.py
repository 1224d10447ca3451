"""The way between source and this machine, and the other hosts of a source's address: whether the channel could go on
there when this one is gone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from msgspec.structs import replace

from capture.checking import Finding, passed, warning
from capture.errors import CaptureError
from capture.source import Flavour, open_source, show_host
from capture.whitelist import seen_from
from storage.clock import SystemClock

if TYPE_CHECKING:
    from collections.abc import Mapping

    from capture.checking import Look
    from capture.source import ServerInfo

_UPDATES: Final = ("log_replica_updates", "log_slave_updates")
_VARIABLES: Final = ("log_bin", "gtid_mode", *_UPDATES)


async def whitelist(look: Look) -> Finding:
    """The address that the source's whitelist must admit: it does, and is to go on doing so."""
    seen = await seen_from(look.source, look.spec.address)
    found = f"the source sees this machine as {seen}, which its whitelist and firewall must admit"
    return passed(found, seen.admitted)


async def other_hosts(look: Look) -> Finding:
    """Every host of the address, this one too: reached, of the same kind, its binlog complete and with GTIDs."""
    hosts = look.spec.address.hosts
    if len(hosts) < 2:
        return passed("one host is named: there is no failover")
    doubts: dict[str, str] = {}
    for host in hosts:
        doubt = await _doubt(look, host)
        if doubt is not None:
            doubts[show_host(*host)] = doubt
    if not doubts:
        return passed(f"{len(hosts)} hosts, each of which can take over")
    return warning(
        "; ".join(f"{host}: {doubt}" for host, doubt in doubts.items()),
        "the channel cannot go on there when the others are gone",
        f"source = …  # in this channel's [[channels]]: without {', '.join(doubts)}, or mend what is said of it there",
    )


async def _doubt(look: Look, host: tuple[str, int]) -> str | None:
    """Why a host cannot take over, in a few words."""
    source = open_source(replace(look.spec.address, hosts=(host,)), look.info.server_id + 1, SystemClock())
    try:
        info = await source.connect()
        names = ",".join(f"'{name}'" for name in _VARIABLES)
        rows = await source.query(f"SHOW GLOBAL VARIABLES WHERE Variable_name IN ({names})")
        return _lacking(look, info, {name: value for name, value in rows if name is not None and value is not None})
    except CaptureError as error:
        return str(error)
    finally:
        await source.close()


def _lacking(look: Look, info: ServerInfo, variables: Mapping[str, str]) -> str | None:
    if info.flavour is not look.info.flavour:
        return f"it is {info.flavour}, and the one that was reached first is {look.info.flavour}"
    wanted = {"log_bin": "ON"}
    if info.flavour is Flavour.MYSQL:
        wanted["gtid_mode"] = "ON"
    wanted |= dict.fromkeys([name for name in _UPDATES if name in variables][:1], "ON")
    wrong = [f"{name} = {variables.get(name, 'OFF')}" for name, value in wanted.items() if variables.get(name) != value]
    return ", ".join(wrong) or None
