"""The results of the client matrix: `matrix.json`, committed, from which the README's table is made.

Owns: the file's form (a list of rows in the table's order: client, family, and for each column `passes`, `passes: …`
with what its proof lacks, `n/a: …`, `refused: …` or `untested: …`), its comparison with what a run found, and its
renewal. Cells that a run did not try are not compared, nor is a client that only some machines can have: what was
proven elsewhere stands.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, TypedDict

from tests.interop.client import COLUMNS, Client
from tests.tools.workplace import CLIENTS_DIRECTORY, exclusive

PASSES: Final = "passes"
NOT_APPLICABLE: Final = "n/a: "
REFUSED: Final = "refused: "
UNTESTED: Final = "untested: "
UNTRIED: Final = "untested: not run yet"
FILE: Final = Path(__file__).parent / "matrix.json"
RENEW: Final = "BINWIRE_RENEW_MATRIX"

Cells = dict[tuple[str, str], str]


class Row(TypedDict):
    """One client of the matrix and its cells by column."""

    client: str
    family: str
    cells: dict[str, str]


def read() -> list[Row]:
    rows: list[Row] = json.loads(FILE.read_text(encoding="utf-8")) if FILE.exists() else []
    return rows


def settle(clients: Sequence[Client], found: Cells) -> list[str]:
    """Compare what a run found with the file, or renew the file where BINWIRE_RENEW_MATRIX is set.

    The sentences say what differs and what to do; none if nothing does.
    """
    if not found:
        return []
    if os.environ.get(RENEW):
        renew(clients, found)
        return []
    differing = differences(read(), found)
    if differing:
        differing.append(
            "the client matrix is not what tests/interop/matrix.json says: if that is meant, `make interop RENEW=1` "
            "records it and brings the README's table up to date"
        )
    return differing


def differences(rows: Sequence[Row], found: Mapping[tuple[str, str], str]) -> list[str]:
    """A sentence for each cell that a run found otherwise than recorded."""
    recorded = {(row["client"], column): cell for row in rows for column, cell in row["cells"].items()}
    return [
        f"{client}, {column}: found `{cell}`, recorded is `{recorded.get((client, column), UNTRIED)}`"
        for (client, column), cell in found.items()
        if cell != recorded.get((client, column)) and not _proven_elsewhere(cell, recorded.get((client, column)))
    ]


def _proven_elsewhere(found: str, recorded: str | None) -> bool:
    return found.startswith(UNTESTED) and recorded is not None and not recorded.startswith(UNTESTED)


def renew(clients: Sequence[Client], found: Cells) -> None:
    """Record what a run found over what is recorded, and write the README's table from it."""
    from tests.tools import readme

    with exclusive(CLIENTS_DIRECTORY / "matrix"):
        rows = merged(clients, read(), found)
        text = ",\n".join(json.dumps(row, ensure_ascii=False, indent=1) for row in rows)
        FILE.write_text(f"[\n{text}\n]\n", encoding="utf-8")
        readme.write()


def merged(clients: Sequence[Client], rows: Sequence[Row], found: Cells) -> list[Row]:
    """The rows of all clients: n/a as the clients say, what was found, else what is recorded."""
    recorded = {(row["client"], column): cell for row in rows for column, cell in row["cells"].items()}
    return [
        {
            "client": client.name,
            "family": client.family,
            "cells": {column: _cell(client, column, recorded, found) for column in COLUMNS},
        }
        for client in clients
    ]


def _cell(client: Client, column: str, recorded: Cells, found: Cells) -> str:
    if column in client.not_applicable and client.refuses is None:
        return NOT_APPLICABLE + client.not_applicable[column]
    known, new = recorded.get((client.name, column)), found.get((client.name, column))
    if new is None or _proven_elsewhere(new, known):
        return UNTRIED if known is None or known.startswith(NOT_APPLICABLE) else known
    return new
