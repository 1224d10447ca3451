"""Which consumer groups may log in, and what a configuration file that is read again changes.

The file is the authority for its groups: who is not in it cannot log in, and nothing of their passwords goes into the
catalog. A group that an operation made (`group_register.py`) has its verifier there, and a file that is read again
leaves it alone unless it has a group of that name: then the group is the file's. The catalog keeps which id belongs to
which group of which channel, for ever (`plan.py`), so that committed offsets never come into other hands; a group that
leaves the file keeps its id and its offsets until a command deletes them.

Reading the file again changes groups of channels that run, their objects and alerts (`app.py`), and nothing else: the
differences that need a restart are named.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from msgspec import structs

from broker.accounts import Account, Verifier

if TYPE_CHECKING:
    from collections.abc import Sequence

    from broker.accounts import Accounts
    from broker.config import Config, GroupConfig
    from storage.catalog import GroupRow

_log: Final = logging.getLogger("binwire.enrolment")


ALERT_KEYS: Final = ("alerts", "mail", "alert_commands")


class Enrolled(NamedTuple):
    """A group of the file and the row that the catalog has or is to get for it."""

    row: GroupRow
    config: GroupConfig


class Changes(NamedTuple):
    """What a file that was read again changed, as group ids."""

    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    relogged: tuple[str, ...] = ()
    requoted: tuple[str, ...] = ()


class Enrolment:
    """The groups that may log in."""

    def __init__(self, accounts: Accounts) -> None:
        self._accounts = accounts

    def admit(self, topic: str, enrolled: Enrolled) -> bool:
        """Let a group log in as the file says; whether its login is another than before."""
        row, config = enrolled
        verifier = None if config.password_hash is None else Verifier.parse(config.password_hash.reveal())
        password = None if config.password is None else config.password.reveal()
        account = Account(row.username, row.id, topic, verifier, config.connections_max)
        return self._accounts.put(account, password)

    def admit_made(self, topic: str, row: GroupRow) -> bool:
        """Let a group that an operation made log in by the verifier that the catalog has of it."""
        assert row.verifier is not None
        try:
            verifier = Verifier.parse(row.verifier)
        except ValueError:
            _log.error("the login of group %s in the catalog cannot be read; delete the group and make another", row.id)
            return False
        return self._accounts.put(Account(row.username, row.id, topic, verifier))

    def withdraw(self, group_id: str) -> None:
        """The group cannot log in any more."""
        self._accounts.remove(group_id)

    def change(self, topic: str, before: Sequence[str], planned: Sequence[Enrolled]) -> Changes:
        """Bring the groups of a topic, whose ids were `before`, to what is planned."""
        quotas = {group_id: self._accounts.connections_max(group_id) for group_id in before}
        removed = tuple(group_id for group_id in before if group_id not in {item.row.id for item in planned})
        for group_id in removed:
            self._accounts.remove(group_id)
        relogged = {item.row.id for item in planned if self.admit(topic, item)}
        return Changes(
            added=tuple(item.row.id for item in planned if item.row.id not in before),
            removed=removed,
            relogged=tuple(group_id for group_id in before if group_id in relogged),
            requoted=tuple(
                item.row.id
                for item in planned
                if quotas.get(item.row.id, item.config.connections_max) != item.config.connections_max
            ),
        )


def without_passwords(config: Config) -> Config:
    """The configuration with what its groups and the console's users log in with left out: once they are enrolled
    nothing needs it.
    """
    console = config.console
    return structs.replace(
        config,
        console=None if console is None else structs.replace(console, password=None, password_hash=None, tokens=[]),
        channels=[
            structs.replace(
                channel,
                groups=[structs.replace(group, password=None, password_hash=None) for group in channel.groups],
            )
            for channel in config.channels
        ],
    )


def needing_restart(before: Config, after: Config) -> list[str]:
    """The keys in which two configurations differ beside groups and objects of channels that both have, and passwords
    and tokens of the console.
    """
    before, after = without_passwords(before), without_passwords(after)
    keys = [key for key in before.__struct_fields__ if key not in ("listeners", "channels", *ALERT_KEYS)]
    found = [key for key in keys if getattr(before, key) != getattr(after, key)]
    found += _differing(
        "listener", {item.name: item for item in before.listeners}, {item.name: item for item in after.listeners}
    )
    found += _differing(
        "channel", {item.id: item for item in before.channels}, {item.id: item for item in after.channels}
    )
    return found


def _differing(kind: str, before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    found = [f"{kind} {name} (gone)" for name in before if name not in after]
    found += [f"{kind} {name} (new)" for name in after if name not in before]
    for name, old in before.items():
        keys = [key for key in old.__struct_fields__ if key not in ("groups", "objects")] if name in after else []
        found += [f"{kind} {name}: {key}" for key in keys if getattr(old, key) != getattr(after[name], key)]
    return found


def in_words(changes: Sequence[Changes], cut: int, restart: Sequence[str]) -> str:
    """One sentence about what reading the file again did."""
    parts = [
        f"{verb} {', '.join(ids)}"
        for verb, key in (
            ("added", "added"),
            ("removed", "removed"),
            ("login changed of", "relogged"),
            ("quota changed of", "requoted"),
        )
        if (ids := [group_id for each in changes for group_id in getattr(each, key)])
    ]
    done = f"groups: {'; '.join(parts)}; connections cut: {cut}" if parts else "the groups are as they were"
    return f"{done}; a restart is needed for {', '.join(restart)}" if restart else done
