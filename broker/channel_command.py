"""`binwire channel`: the channels of a running server, and everything the console does with one."""

from __future__ import annotations

import json
import sys
import time
from typing import TYPE_CHECKING, Any, Final

from broker import channel_lines as lines
from broker.config_rules import ConfigError
from broker.operation_commands import Asking, Secrets, add, confirmed, new_parser, not_confirmed, run
from storage.words import moment_ms

if TYPE_CHECKING:
    import argparse

    from broker.control import ChannelView

PASSWORD_VARIABLE: Final = "BINWIRE_SOURCE_PASSWORD"  # noqa: S105 - its name
ADMINISTRATOR_VARIABLE: Final = "BINWIRE_ADMINISTRATOR_PASSWORD"
PRECHECKING: Final = "Prechecking"
PRECHECK_WAIT_S: Final = 120.0
PRECHECK_LOOK_S: Final = 0.1
_SETTINGS: Final = (
    ("name", "NAME", "free text (default: generated)"),
    ("region", "REGION", "such as cn_hangzhou"),
    ("instance-id", "ID", "with the region makes the topic"),
    ("start", "START", "now, earliest, a time, file:position or a GTID set (default: now)"),
    ("retention", "DURATION", "such as 24h"),
)
_OPERATORS: Final = ("is not null", "is null", "starts with", "contains", "!=", "<=", ">=", "=", "<", ">")


def main(arguments: list[str]) -> int:
    """Run one command; the exit status."""
    return run(command_parser(), arguments)


def command_parser() -> argparse.ArgumentParser:
    """The parser of everything that is typed after it."""
    parser, commands = new_parser("channel", "The channels of a running server.")
    _add_lifecycle(commands)
    _add_source(commands)
    _add_reading(commands)
    return parser


def _add_lifecycle(commands: Any) -> None:
    found = add(commands, "list", _list, "show the channels")
    found.add_argument("--region", metavar="REGION", help="of this region only")
    found.add_argument("--search", metavar="TEXT", help="with this in the id or the name")
    found.add_argument("--page", type=int, metavar="N", help="(default: 1)")

    create = add(commands, "create", _create, "create a channel and look at its source")
    _add_address(create)
    create.add_argument(
        "--objects", required=True, metavar="LIST", help="databases and tables with commas between: shop,crm.customer"
    )
    for key, metavar, help_text in _SETTINGS:
        create.add_argument(f"--{key}", metavar=metavar, help=help_text)
    create.add_argument("--no-ddl", action="store_true", help="data updates without schema updates")

    _with_id(add(commands, "show", _show, "show all that is known of a channel"))
    _with_id(add(commands, "precheck", _precheck, "look at a channel's source again"))
    _with_id(add(commands, "start", _start, "start a channel whose precheck passed"))
    _with_id(add(commands, "resume", _resume, "have a channel in Error try again now"))

    objects = _with_id(add(commands, "objects", _objects, "track these databases and tables, in place of those before"))
    objects.add_argument(
        "objects", nargs="+", metavar="LIST", help="databases and tables with commas or spaces between"
    )

    source = _with_id(
        add(commands, "source", _change_source, "read from another address or by another account of the same server")
    )
    _add_address(source)

    rename = _with_id(add(commands, "rename", _rename, "give a channel another name"))
    rename.add_argument("name", metavar="NAME")

    release = add(commands, "release", _release, "delete channels with all their data, for good")
    release.add_argument("channels", nargs="+", metavar="CHANNEL", help="the channel's id")
    release.add_argument("--yes", action="store_true", help="without being asked")


def _add_source(commands: Any) -> None:
    databases = add(commands, "databases", _databases, "list the databases of a source")
    _add_looking(databases)
    tables = add(commands, "tables", _tables, "list the tables of a source")
    _add_looking(tables)
    tables.add_argument("--database", action="append", metavar="NAME", help="of this database only; may be repeated")

    account = add(commands, "account", _account, "show what makes the least-privileged account that SOURCE names")
    _add_address(account)
    account.add_argument("--objects", metavar="LIST", help="databases and tables that it reads, with commas between")
    account.add_argument("--administrator", metavar="USER", help="who may create users there; used once and not kept")
    account.add_argument(
        "--account-host", metavar="HOST", help="where it logs in from (default: as the source sees us)"
    )
    account.add_argument("--create", action="store_true", help="run the statements, by the administrator")


def _add_reading(commands: Any) -> None:
    records = _with_id(add(commands, "records", _records, "look for changes, newest first"))
    records.add_argument("--database", metavar="NAME")
    records.add_argument("--table", metavar="NAME")
    records.add_argument(
        "--where", action="append", metavar="CONDITION", help="such as 'id = 7' or 'note contains x'; may be repeated"
    )
    records.add_argument("--kind", action="append", metavar="KIND", help="INSERT, UPDATE, DELETE, DDL; may be repeated")
    records.add_argument("--from", dest="from_time", metavar="TIME", help="such as 2026-01-31T08:00:00Z")
    records.add_argument("--to", dest="to_time", metavar="TIME")
    records.add_argument("-n", "--limit", type=int, metavar="N", help="how many (default: 20)")
    records.add_argument("--cursor", metavar="CURSOR", help="go on where an earlier answer ended")

    record = _with_id(add(commands, "record", _record, "show one change with its values before and after"))
    record.add_argument("offset", type=int, metavar="OFFSET")

    sample = _with_id(add(commands, "sample", _sample, "print a whole consumer of the channel in a language"))
    sample.add_argument("language", nargs="?", metavar="LANGUAGE", help="left out: list the languages")
    sample.add_argument("--group", metavar="GROUP", help="for this consumer group (default: the channel's first)")
    sample.add_argument("--listener", metavar="NAME", help="at this listener (default: the first)")

    add(commands, "schema", _schema, "print the Avro schema of the records, record.avsc")


def _with_id(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    parser.add_argument("channel", metavar="CHANNEL", help="the channel's id")
    return parser


def _add_address(parser: argparse.ArgumentParser, **options: Any) -> None:
    parser.add_argument(
        "source",
        metavar="SOURCE",
        help="mysql://user@host:3306, without the password: it is asked for, or taken from the environment's "
        f"{PASSWORD_VARIABLE} or a line of standard input",
        **options,
    )


def _add_looking(parser: argparse.ArgumentParser) -> None:
    _add_address(parser, nargs="?")
    parser.add_argument("--channel", metavar="CHANNEL", help="the source of this channel, in place of SOURCE")
    parser.add_argument("--search", metavar="TEXT", help="with this in the name")
    parser.add_argument("--page", type=int, metavar="N", help="(default: 1)")


# --- lifecycle --------------------------------------------------------------------------------------------------------


def _list(asking: Asking, typed: argparse.Namespace) -> int:
    found = asking("list_channels", region=typed.region, search=typed.search, page=typed.page)
    return asking.show(found, lines.channels)


def _create(asking: Asking, typed: argparse.Namespace) -> int:
    from broker.init_source import split_objects

    given = {key.replace("-", "_"): getattr(typed, key.replace("-", "_")) for key, _, _ in _SETTINGS}
    made = asking(
        "create_channel",
        **given,
        source=_source(typed.source),
        objects=split_objects(typed.objects),
        data_types=["dml"] if typed.no_ddl else None,
    )
    channel = _looked_through(asking, made)
    return _failed_or(asking.show(channel, lines.channel), channel)


def _looked_through(asking: Asking, channel: ChannelView) -> ChannelView:
    """The channel once its source was looked at, or as it is when that takes too long."""
    deadline_s = time.monotonic() + PRECHECK_WAIT_S
    while channel.state == PRECHECKING and time.monotonic() < deadline_s:
        time.sleep(PRECHECK_LOOK_S)
        channel = asking("show_channel", channel_id=channel.id)
    return channel


def _show(asking: Asking, typed: argparse.Namespace) -> int:
    return asking.show(asking("show_channel", channel_id=typed.channel), lines.channel)


def _precheck(asking: Asking, typed: argparse.Namespace) -> int:
    channel = asking("precheck_channel", channel_id=typed.channel, wait=True)
    return _failed_or(asking.show(channel, lines.precheck), channel)


def _failed_or(status: int, channel: ChannelView) -> int:
    """The exit status, 1 if the channel's precheck failed."""
    return 1 if any(item.outcome == "failed" for item in channel.precheck or ()) else status


def _start(asking: Asking, typed: argparse.Namespace) -> int:
    return asking.show(asking("start_channel", channel_id=typed.channel), lines.state)


def _resume(asking: Asking, typed: argparse.Namespace) -> int:
    return asking.show(asking("resume_channel", channel_id=typed.channel), lines.state)


def _objects(asking: Asking, typed: argparse.Namespace) -> int:
    from broker.init_source import split_objects

    objects = split_objects(",".join(typed.objects))
    changed = asking("change_objects", channel_id=typed.channel, objects=objects)
    return asking.show(changed, lines.message)


def _change_source(asking: Asking, typed: argparse.Namespace) -> int:
    changed = asking("change_source", channel_id=typed.channel, source=_source(typed.source))
    return asking.show(changed, lines.message)


def _rename(asking: Asking, typed: argparse.Namespace) -> int:
    return asking.show(asking("rename_channel", channel_id=typed.channel, name=typed.name), lines.state)


def _release(asking: Asking, typed: argparse.Namespace) -> int:
    channel_ids = list(dict.fromkeys(typed.channels))
    previews = [asking("preview_release", channel_id=channel_id) for channel_id in channel_ids]
    wanted = channel_ids[0] if len(channel_ids) == 1 else f"release {len(channel_ids)} channels"
    if not confirmed("\n".join(lines.release_preview(previews)), wanted, is_sure=typed.yes):
        return not_confirmed()
    if len(channel_ids) == 1:
        released = [asking("release_channel", channel_id=wanted, confirm=wanted)]
    else:
        released = list(asking("release_channels", channel_ids=channel_ids, confirm=wanted).channels)
    asking.show(released, lines.released)
    return 1 if any(each.refusal is not None for each in released) else 0


# --- source -----------------------------------------------------------------------------------------------------------


def _source(address: str) -> dict[str, str]:
    """A source's address with the password that was asked for. Raises ConfigError if the address has one."""
    from urllib.parse import quote

    scheme, separator, rest = address.partition("://")
    if scheme == "file":
        return {"url": address}
    account, at, hosts = rest.rpartition("@")
    if not separator or not at or not account:
        raise ConfigError("SOURCE is not an address with a user; write one such as mysql://user@host:3306")
    if ":" in account:
        raise ConfigError(
            f"a password does not belong on a command line, where others see it; write {scheme}://user@{hosts} and set "
            f"{PASSWORD_VARIABLE}, or type it when asked"
        )
    password = Secrets().ask(f"password of {account}", PASSWORD_VARIABLE)
    return {"url": f"{scheme}://{account}:{quote(password, safe='')}@{hosts}"}


def _looked_at(typed: argparse.Namespace) -> dict[str, Any]:
    if (typed.source is None) == (typed.channel is None):
        raise ConfigError("found neither SOURCE nor --channel, or both; give one of them")
    if typed.channel is not None:
        return {"channel_id": typed.channel}
    return {"source": _source(typed.source)}


def _databases(asking: Asking, typed: argparse.Namespace) -> int:
    found = asking("list_databases", **_looked_at(typed), search=typed.search, page=typed.page)
    return asking.show(found, lines.databases)


def _tables(asking: Asking, typed: argparse.Namespace) -> int:
    given = {"databases": typed.database, "search": typed.search, "page": typed.page}
    found = asking("list_tables", **_looked_at(typed), **given)
    return asking.show(found, lines.tables)


def _account(asking: Asking, typed: argparse.Namespace) -> int:
    from broker.init_source import split_objects

    given: dict[str, Any] = {"source": _source(typed.source), "account_host": typed.account_host}
    if typed.objects is not None:
        given["objects"] = split_objects(typed.objects)
    if typed.administrator is not None:
        password = Secrets().ask(f"password of {typed.administrator}", ADMINISTRATOR_VARIABLE)
        given["administrator"] = {"username": typed.administrator, "password": password}
    elif typed.create:
        raise ConfigError("--create needs --administrator USER, who may create users at the source")
    return asking.show(asking("create_account" if typed.create else "preview_account", **given), lines.account)


# --- reading ----------------------------------------------------------------------------------------------------------


def _records(asking: Asking, typed: argparse.Namespace) -> int:
    found = asking(
        "search_records",
        channel_id=typed.channel,
        database=typed.database,
        table=typed.table,
        conditions=[_condition(text) for text in typed.where or ()],
        kinds=[kind.upper() for kind in typed.kind or ()],
        from_ms=_milliseconds("--from", typed.from_time),
        to_ms=_milliseconds("--to", typed.to_time),
        limit=typed.limit,
        cursor=typed.cursor,
    )
    return asking.show(found, lines.records)


def _condition(text: str) -> dict[str, str | None]:
    """`column operator value`; the operator is the first that stands in the text."""
    places = [(text.find(f" {each}"), -len(each), each) for each in _OPERATORS if f" {each}" in text]
    if not places:
        raise ConfigError(f"--where: found {text!r}; write a column, an operator and a value, such as 'id = 7'")
    at, _, operator = min(places)
    column, value = text[:at].strip(), text[at + len(operator) + 1 :].strip()
    return {"column": column, "operator": operator, "value": None if operator.endswith("null") else value}


def _milliseconds(option: str, text: str | None) -> int | None:
    if text is None:
        return None
    found = moment_ms(text)
    if found is None:
        raise ConfigError(f"{option}: found {text!r}; write seconds, or a time with its offset: 2026-01-31T08:00:00Z")
    return found


def _record(asking: Asking, typed: argparse.Namespace) -> int:
    return asking.show(asking("show_record", channel_id=typed.channel, offset=typed.offset), lines.record)


def _sample(asking: Asking, typed: argparse.Namespace) -> int:
    if typed.language is None:
        return asking.show(asking("list_samples", channel_id=typed.channel), lines.samples)
    given = {"channel_id": typed.channel, "language": typed.language}
    made = asking("show_sample", **given, group_id=typed.group, listener=typed.listener)
    if not asking.as_json:
        for line in (*made.language.needs, made.language.runs):
            print(line, file=sys.stderr)
    return asking.show(made, lambda found, style: [found.text.removesuffix("\n")])


def _schema(asking: Asking, typed: argparse.Namespace) -> int:
    return asking.show(asking("show_schema"), lambda found, style: [json.dumps(found, ensure_ascii=False, indent=1)])
