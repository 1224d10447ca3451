"""`binwire group`: the consumer groups of a channel, listed, created, deleted, given another password."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from broker.operation_commands import Asking, Secrets, add, confirmed, new_parser, not_confirmed, run
from broker.render import printable, table
from storage.words import shown_moment

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from broker.control import GroupView, MemberView
    from broker.render import Style

PASSWORD_VARIABLE: Final = "BINWIRE_GROUP_PASSWORD"  # noqa: S105 - its name
OLD_PASSWORD_VARIABLE: Final = "BINWIRE_GROUP_OLD_PASSWORD"  # noqa: S105 - its name


def main(arguments: list[str]) -> int:
    """Run one command; the exit status."""
    return run(command_parser(), arguments)


def command_parser() -> argparse.ArgumentParser:
    """The parser of everything that is typed after it."""
    parser, commands = new_parser("group", "The consumer groups of a running server's channels.")
    _add(commands, "list", _list, "show how far each group has come, and by which clients")

    create = _add(commands, "create", _create, "create a group; its id is generated, its password asked for")
    create.add_argument("name", metavar="NAME", help="1 to 128 characters")
    create.add_argument("--username", required=True, metavar="NAME", help="1 to 16 letters, digits or underscores")

    password = _add(commands, "password", _password, "change a group's password; its connections are cut")
    password.add_argument("group", metavar="GROUP", help="the group's id")

    delete = _add(commands, "delete", _delete, "delete a group with what it has consumed, for good")
    delete.add_argument("group", metavar="GROUP", help="the group's id")
    delete.add_argument("--yes", action="store_true", help="without being asked")
    return parser


def _add(commands: Any, name: str, run_command: Any, help_text: str) -> argparse.ArgumentParser:
    parser = add(commands, name, run_command, help_text)
    parser.add_argument("channel", metavar="CHANNEL", help="the channel's id")
    return parser


def _list(asking: Asking, typed: argparse.Namespace) -> int:
    return asking.show(asking("list_groups", channel_id=typed.channel), _listed)


def _create(asking: Asking, typed: argparse.Namespace) -> int:
    password, again = Secrets().ask_twice("password of the group", PASSWORD_VARIABLE)
    given = {"channel_id": typed.channel, "name": typed.name, "username": typed.username}
    made = asking("create_group", **given, password=password, password_again=again)
    return asking.show(made, _created)


def _password(asking: Asking, typed: argparse.Namespace) -> int:
    secrets = Secrets()
    old = secrets.ask("old password", OLD_PASSWORD_VARIABLE)
    password, again = secrets.ask_twice("new password", PASSWORD_VARIABLE)
    given = {"channel_id": typed.channel, "group_id": typed.group, "old_password": old}
    return asking.show(asking("change_password", **given, password=password, password_again=again), _message)


def _delete(asking: Asking, typed: argparse.Namespace) -> int:
    what = (
        f"Group {typed.group} of channel {typed.channel} is deleted for good: its login, the offset it has consumed up "
        "to, and its members."
    )
    if not confirmed(what, typed.group, is_sure=typed.yes):
        return not_confirmed()
    done = asking("delete_group", channel_id=typed.channel, group_id=typed.group, confirm=typed.group)
    return asking.show(done, _message)


# --- for people -------------------------------------------------------------------------------------------------------


def _message(done: Any, style: Style) -> Iterator[str]:
    yield printable(done.message)


def _created(group: GroupView, style: Style) -> Iterator[str]:
    yield f"group {group.id} ({printable(group.name)}) may log in"
    yield f"  group id  {group.id}"
    yield f"  username  {group.username}-{group.id}"


def _listed(found: Any, style: Style) -> Iterator[str]:
    if not found.groups:
        yield "no groups; `binwire group create` makes one"
        return
    heading = ("group id", "name", "username", "consumed up to", "remaining", "delay", "defined by", "read by")
    yield from table(heading, [_row(group) for group in found.groups], style)


def _row(group: GroupView) -> tuple[str, ...]:
    consumed = "-" if group.consume_timestamp_ms is None else shown_moment(group.consume_timestamp_ms)
    remaining = "-" if group.remaining < 0 else str(group.remaining)
    delay = "-" if group.delay_s < 0 else f"{group.delay_s} s"
    clients = ", ".join(map(_client, group.members)) or "-"
    return (group.id, group.name, group.username, consumed, remaining, delay, group.defined_by, clients)


def _client(member: MemberView) -> str:
    role = "active" if member.is_active else "stands by"
    return f"{member.client_id or '(no client id)'} at {member.address} ({role})"
