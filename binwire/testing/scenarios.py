"""Scenarios played: `.sql` files whose statements become records as if a server had run them."""

from __future__ import annotations

import os
from pathlib import Path

from binwire.testing.calls import AsyncSender, Call, Sender
from binwire.testing.changes import between
from binwire.testing.process import EmbeddedBrokerError

__tracebackhide__ = True  # pytest shows the line of the test


class Scenarios(Sender):
    """What plays `.sql` files."""

    def play(self, sql: str | os.PathLike[str]) -> int:
        """Play SQL, given as text or as the path of a `.sql` file; how many statements it had.

        A str that ends with `.sql` and is one line without `;` is a path. Statements run one after the other in one
        session, whose default database is the channel's: DDL, INSERT, REPLACE, UPDATE, DELETE, transactions and SET.
        Tables and rows stay for the next call, those that `insert` and the like changed too. Returns when consumers can
        see everything; what is not understood raises EmbeddedBrokerError with its line, and changes nothing of its
        transaction.
        """
        return self._send(between(self, _play(self._name, sql)))


class AsyncScenarios(AsyncSender):
    """The same, for asynchronous code."""

    async def play(self, sql: str | os.PathLike[str]) -> int:
        """As `Scenarios.play`."""
        return await self._send(between(self, _play(self._name, sql)))


def _play(channel: str, sql: str | os.PathLike[str]) -> Call[int]:
    arguments: dict[str, str | None] = {"channel": channel, "sql": None, "name": None}
    if isinstance(sql, str) and not _is_path(sql):
        arguments["sql"] = sql
    else:
        path = Path(sql)
        try:
            text = path.read_text("utf-8")
        except UnicodeDecodeError:
            reason = "it is no UTF-8; have mysqldump write it with --hex-blob"
            raise EmbeddedBrokerError(f"{path} cannot be played: {reason}") from None
        arguments |= {"sql": text, "name": path.name}
    return Call("play", arguments, lambda result: result["statements"])


def _is_path(text: str) -> bool:
    return text.endswith(".sql") and ";" not in text and "\n" not in text
