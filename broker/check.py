"""`binwire check`: whether everything is in order, on this machine and at every source, before anything is started.

Owns how a check is shown, to people and as JSON, and that a warning never fails it. A line tells an item's outcome, its
name and what was found; below it stand what that means and what mends it, which is printed unbroken, ready to paste.
Beside a running server the same is told. Left to others: what is looked at on this machine (`machine_check.py`), at a
source (`capture/precheck.py`).
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import sys
from typing import TYPE_CHECKING, Final, NamedTuple

from msgspec.structs import asdict

from broker.render import counted, pad, printable, style_for, width, wrapped

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from broker.config import Config
    from broker.control import PrecheckItem
    from broker.render import Style

PASSED, WARNING, FAILED = "passed", "warning", "failed"

_SHOWN: Final = {PASSED: "ok", WARNING: "warning", FAILED: "FAILED"}
_OUTCOME_COLUMNS: Final = 9
_INDENT: Final = "    "
_COLUMNS_MAX: Final = 110  # a sentence is not read in longer lines
_UNBROKEN: Final = 1 << 20  # for programs that search the output


class _Section(NamedTuple):
    """What belongs together: this machine, or a channel with its source."""

    id: str
    place: str
    items: Sequence[PrecheckItem]

    @property
    def outcome(self) -> str:
        found = {item.outcome for item in self.items}
        return FAILED if FAILED in found else WARNING if WARNING in found else PASSED


def run(config: Config, *, as_json: bool) -> int:
    """Check a configuration and print what was found; the exit status, 1 if anything failed.

    Raises ConfigError for what cannot be looked at.
    """
    sections = [_Section("this machine", config.data_dir, _machine(config))]
    sections += _channels(config)
    if as_json:
        print(json.dumps(_document(sections), ensure_ascii=False))
    else:
        style = style_for(terminal=sys.stdout.isatty(), environment=os.environ)
        columns = min(_COLUMNS_MAX, shutil.get_terminal_size().columns) if sys.stdout.isatty() else _UNBROKEN
        for section in sections:
            print(*shown(section.id, section.place, section.items, style, columns), sep="\n")
        if not config.channels:
            print("the configuration is valid; it has no channels")
    return 1 if any(section.outcome == FAILED for section in sections) else 0


def _machine(config: Config) -> Sequence[PrecheckItem]:
    from broker.machine_check import look
    from broker.provision import listener
    from storage.clock import SystemClock

    listeners = [listener(item, f"listeners[{index}]", SystemClock()) for index, item in enumerate(config.listeners)]
    if config.console is not None:
        from broker.console_rules import console_listener

        listeners.append(console_listener(config.console, SystemClock()))
    return look(config, listeners)


def _channels(config: Config) -> Iterator[_Section]:
    from broker.capturing import channel_spec, run_precheck
    from storage.clock import SystemClock

    specs = [channel_spec(channel, f"channels[{index}]") for index, channel in enumerate(config.channels)]
    for spec in specs:
        items = asyncio.run(run_precheck(spec, SystemClock(), config.data_path))
        yield _Section(spec.id, str(spec.address), items)


def _document(sections: Sequence[_Section]) -> dict[str, object]:
    machine, *channels = sections
    return {
        "outcome": _Section("", "", [item for section in sections for item in section.items]).outcome,
        "machine": {"data_dir": machine.place, "outcome": machine.outcome, "items": _items(machine)},
        "channels": [
            {"id": channel.id, "source": channel.place, "outcome": channel.outcome, "items": _items(channel)}
            for channel in channels
        ],
    }


def _items(section: _Section) -> list[dict[str, str | None]]:
    return [asdict(item) for item in section.items]


# --- for people -----------------------------------------------------------------------------------------------------


def shown(heading: str, place: str, items: Sequence[PrecheckItem], style: Style, columns: int) -> Iterator[str]:
    """The lines of one section, for a terminal of `columns`: its items, and what they come to."""
    yield f"{style.bold}{printable(heading)}{style.end}  {style.dim}{printable(place)}{style.end}"
    names = max((width(item.name) for item in items), default=0)
    for item in items:
        yield from _item(item, names, style, columns)
    yield f"  {_conclusion(items, style)}"
    yield ""


def _item(item: PrecheckItem, names: int, style: Style, columns: int) -> Iterator[str]:
    colour = {PASSED: style.insert, WARNING: style.update, FAILED: style.delete}[item.outcome]
    taken = 2 + _OUTCOME_COLUMNS + names + 2
    first, *more = wrapped(printable(item.found), max(columns - taken, columns // 2))
    yield f"  {colour}{pad(_SHOWN[item.outcome], _OUTCOME_COLUMNS)}{style.end}{pad(item.name, names)}  {first}".rstrip()
    yield from (" " * taken + line for line in more)
    margin = " " * (2 + _OUTCOME_COLUMNS)
    if item.means is not None:
        label = f"{_INDENT}means: "
        for number, line in enumerate(wrapped(printable(item.means), columns - len(margin) - len(label))):
            yield f"{margin}{label if number == 0 else ' ' * len(label)}{line}"
    for number, line in enumerate((item.remedy or "").splitlines()):
        yield f"{margin}{_INDENT}{'to do: ' if number == 0 else '       '}{style.name}{printable(line)}{style.end}"


def _conclusion(items: Sequence[PrecheckItem], style: Style) -> str:
    failed = sum(item.outcome == FAILED for item in items)
    warnings = sum(item.outcome == WARNING for item in items)
    aside = f", {counted(warnings, 'warning')}" if warnings else ""
    if failed:
        return f"{style.delete}not ready{style.end}: {counted(failed, 'item')} failed{aside}"
    return f"{style.insert}ready{style.end}{aside}"
