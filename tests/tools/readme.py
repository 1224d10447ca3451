"""The parts of README.md that are made from data, each between `<!-- name -->` and `<!-- /name -->`.

Owns: what stands between those marks. `python tests/tools/readme.py` says whether README.md is up to date (exit
status 1 if not), `--write` brings it up to date. Leaves every other line of README.md to its authors.
"""

from __future__ import annotations

import argparse
import json
import sys
import tomllib
from collections import Counter
from collections.abc import Callable
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]
README = CHECKOUT / "README.md"
FIDELITY = CHECKOUT / "broker" / "fidelity.toml"
MATRIX = CHECKOUT / "tests" / "interop" / "matrix.json"

STATUSES = ("faithful", "inferred", "unknown", "different")
AREAS = {"record": "Record", "value": "Column values", "broker": "Broker", "console": "Console and API"}
CLIENT_COLUMNS = {
    "plain": "SASL",
    "tls": "TLS",
    "topics": "topics",
    "subscribe": "group",
    "assign": "assign",
    "commit": "commit",
    "resume": "resume",
    "seek_seconds": "time s",
    "seek_milliseconds": "time ms",
    "takeover": "standby",
    "wrong_password": "wrong password",
}
POINT_KEYS = frozenset({"area", "name", "status", "binwire", "evidence"})


def fidelity_points(text: str) -> list[dict[str, str]]:
    """The points of `fidelity.toml`, checked: every key there, known area and status, no name twice in an area."""
    points: list[dict[str, str]] = tomllib.loads(text)["point"]
    for point in points:
        if set(point) != POINT_KEYS:
            raise ValueError(f"{point.get('name')}: keys are {sorted(point)}, not {sorted(POINT_KEYS)}")
        if point["status"] not in STATUSES or point["area"] not in AREAS:
            raise ValueError(f"{point['name']}: unknown status {point['status']!r} or area {point['area']!r}")
    twice = [name for name, count in Counter((p["area"], p["name"]) for p in points).items() if count > 1]
    if twice:
        raise ValueError(f"listed twice: {twice}")
    return points


def fidelity_table() -> str:
    points = fidelity_points(FIDELITY.read_text(encoding="utf-8"))
    counts = Counter(point["status"] for point in points)
    lines = [", ".join(f"{counts[status]} {status}" for status in STATUSES) + ".", ""]
    for area, title in AREAS.items():
        lines += [f"| {title} | | Binwire | Evidence |", "|---|---|---|---|"]
        lines += [
            f"| {p['name']} | {p['status']} | {p['binwire']} | {p['evidence']} |" for p in points if p["area"] == area
        ]
        lines.append("")
    return "\n".join(lines).rstrip()


def api_table() -> str:
    sys.path.insert(0, str(CHECKOUT))
    from broker.apis import APIS, SKIPPED

    lines = ["| Key | API | Versions | |", "|---|---|---|---|"]
    lines += [
        f"| {api.key} | {api.name} | {api.min_version}–{api.max_version} | {api.service.value} |"
        for api in APIS.values()
    ]
    lines += ["", "Deliberately not there:", ""]
    lines += [f"- {each.names} ({', '.join(map(str, each.keys))}): {each.reason}" for each in SKIPPED]
    return "\n".join(lines)


def client_table() -> str:
    """The client matrix as `tests/interop/matrix.json` has it; reasons and messages are notes under the table.

    Below it, what it has no row for.
    """
    sys.path.insert(0, str(CHECKOUT))
    from tests.interop.families.others import UNTESTED

    rows = json.loads(MATRIX.read_text(encoding="utf-8"))
    columns = list(rows[0]["cells"])
    notes: dict[str, int] = {}
    lines = [
        "| | " + " | ".join(CLIENT_COLUMNS[column] for column in columns) + " |",
        "|---" * (len(columns) + 1) + "|",
    ]
    for row in rows:
        cells = [_client_cell(row["cells"][column], notes) for column in columns]
        lines.append(f"| {row['client']} | " + " | ".join(cells) + " |")
    lines += ["", *(f"{number}. {note}" for note, number in notes.items())]
    lines += ["", "Untested, because it cannot be had where the tests fetch their clients:", ""]
    lines += [f"- {client}: {reason}" for client, reason in UNTESTED.items()]
    return "\n".join(lines)


def _client_cell(cell: str, notes: dict[str, int]) -> str:
    kind, _, note = cell.partition(": ")
    shown = "✓" if kind == "passes" else kind
    if not note:
        return shown
    return f"{shown} {notes.setdefault(note, len(notes) + 1)}"


def fault_table() -> str:
    """What can be made to go wrong in a test, and what a correct consumer does about it."""
    sys.path.insert(0, str(CHECKOUT))
    from broker.fixture.fault_kinds import KINDS

    lines = ["| `channel.faults.` | What happens | A correct consumer |", "|---|---|---|"]
    lines += [f"| `{each.name}({each.arguments})` | {each.happens} | {each.consumer} |" for each in KINDS]
    return "\n".join(lines)


def speed() -> str:
    """How fast it is, by the newest committed results of the benchmarks."""
    sys.path.insert(0, str(CHECKOUT))
    from tests.tools.speed_table import speed_table

    return speed_table()


SECTIONS: dict[str, Callable[[], str]] = {
    "speed": speed,
    "fidelity": fidelity_table,
    "apis": api_table,
    "clients": client_table,
    "faults": fault_table,
}


def render(text: str) -> str:
    """The README's text with every section made anew; a section without its marks is an error."""
    for name, make in SECTIONS.items():
        opening, closing = f"<!-- {name} -->\n", f"\n<!-- /{name} -->"
        if text.count(opening) != 1 or text.count(closing) != 1:
            raise ValueError(f"README.md needs the marks <!-- {name} --> and <!-- /{name} --> exactly once")
        before, _, rest = text.partition(opening)
        after = rest.partition(closing)[2]
        text = before + opening + make() + closing + after
    return text


def write() -> None:
    """Bring README.md up to date."""
    README.write_text(render(README.read_text(encoding="utf-8")), encoding="utf-8")


def main() -> int:
    parser = argparse.ArgumentParser(description="Check or write the generated parts of README.md.")
    parser.add_argument("--write", action="store_true", help="bring README.md up to date")
    arguments = parser.parse_args()
    text = README.read_text(encoding="utf-8")
    if arguments.write:
        write()
    elif render(text) != text:
        print("README.md is out of date: run python tests/tools/readme.py --write", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
