"""`binwire status`: what a running server does, for people or as one JSON object."""

from __future__ import annotations

import json
import os
import shutil
import sys
from typing import TYPE_CHECKING, Any, Final

from broker.control import ask
from broker.render import Style, fact, printable, style_for, table
from storage.words import shown_bytes, shown_moment

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

_SENTENCES: Final = frozenset({"reason", "warning", "damaged", "refused", "alert"})


def run(data_directory: Path, *, as_json: bool) -> int:
    """Ask the server on this data directory and print; the exit status."""
    [answer] = ask(data_directory / "control.sock", {"request": "status"})
    if as_json:
        print(json.dumps(answer["status"], ensure_ascii=False, indent=2))
    else:
        style = style_for(terminal=sys.stdout.isatty(), environment=os.environ)
        columns = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
        print(*lines(answer["status"], style, columns), sep="\n")
    return 0


def lines(status: Mapping[str, Any], style: Style, columns: int | None = None) -> Iterator[str]:
    """The lines that show a status answer (see `control.py`); a reason is laid out for a terminal of `columns`."""
    listeners = ", ".join(f"{name} {address}" for name, address in status["listeners"].items())
    yield f"listening on {listeners}"
    if not status["channels"]:
        yield "no channels"
    for channel in status["channels"]:
        yield ""
        yield f"{style.bold}channel {channel['id']}{style.end}  {printable(channel['name'])}"
        incidents = [each for each in status["incidents"] if each["channel_id"] == channel["id"]]
        for name, text in (*_facts(channel, style), *_alerts(incidents, style)):
            yield from fact(name, text, style, columns if name in _SENTENCES else None)
        if channel["groups"]:
            rows = [_group_row(group) for group in channel["groups"]]
            yield ""
            heading = ("group id", "name", "username", "committed", "behind", "delay", "clients", "metadata")
            yield from (f"  {line}" for line in table(heading, rows, style))


def _facts(channel: Mapping[str, Any], style: Style) -> Iterator[tuple[str, str]]:
    stopped = channel["reason"] is not None
    yield "state", f"{style.before}{channel['state']}{style.end}" if stopped else channel["state"]
    if stopped:
        yield "reason", printable(channel["reason"])
        until = channel["retried_until_ms"]
        yield "next", _next_step(channel) if until is None else f"retried until {shown_moment(until)}"
    yield "topic", channel["topic"]
    yield "source", printable(channel["source"])
    yield "position", channel["position"] or "-"
    yield "data", _data_range(channel)
    yield "rate", f"{channel['records_per_s']:.1f} records/s"
    lag_ms = channel["lag_ms"]
    yield "delay", "-" if lag_ms is None else f"{lag_ms / 1000:.1f} s"
    yield "flushed", f"all below offset {channel['durable_offset']}"
    yield "disk", _disk(channel["disk"])
    if channel["disk"] is not None and channel["disk"]["warning"] is not None:
        yield "warning", printable(channel["disk"]["warning"])
    for damage in channel["damages"]:
        yield "damaged", printable(damage)
    if channel["refused_objects"] is not None:
        yield "refused", printable(channel["refused_objects"])


def _next_step(channel: Mapping[str, Any]) -> str:
    """What somebody has to do."""
    allowed = channel["operations"]
    verb = next((verb for verb in ("resume", "start", "precheck", "release") if f"{verb}_channel" in allowed), None)
    return "needs action" if verb is None else f"needs action; after it: binwire channel {verb} {channel['id']}"


def _disk(disk: Mapping[str, Any] | None) -> str:
    if disk is None:
        return "not looked at yet"
    needed = "unbounded" if disk["needed_bytes"] is None else f"{shown_bytes(disk['needed_bytes'])} needed"
    rate = f"{shown_bytes(disk['bytes_per_s'])}/s"
    return f"{shown_bytes(disk['used_bytes'])} used, {needed} at {rate}, {shown_bytes(disk['free_bytes'])} free"


def _data_range(channel: Mapping[str, Any]) -> str:
    start, end = channel["start_timestamp_ms"], channel["end_timestamp_ms"]
    if start is None or end is None:
        return "nothing yet"
    # How many records that are cannot be told from it: a range may have gaps.
    span = f"offsets {channel['start_offset']} to {channel['high_watermark'] - 1}"
    return f"{shown_moment(start)} to {shown_moment(end)}, {span}"


def _alerts(incidents: Iterable[Mapping[str, Any]], style: Style) -> Iterator[tuple[str, str]]:
    for incident in incidents:
        begun = f"{incident['rule_name']}, since {shown_moment(incident['begun_ms'])}: {incident['sentence']}"
        yield "alert", f"{style.before}{printable(begun)}{style.end}"


def _group_row(group: Mapping[str, Any]) -> tuple[str, ...]:
    known = {key: "-" if group[key] is None else str(group[key]) for key in ("offset", "behind", "metadata")}
    delay = "-" if group["delay_s"] < 0 else f"{group['delay_s']} s"
    names = (group["id"], group["name"], group["username"])
    return (*names, known["offset"], known["behind"], delay, _clients(group), known["metadata"])


def _clients(group: Mapping[str, Any]) -> str:
    """Who reads, and how many stand by."""
    active = [member["client_id"] for member in group["members"] if member["is_active"]]
    standing_by = len(group["members"]) - len(active)
    parts = [*map(printable, active), *([f"{standing_by} standing by"] if standing_by else [])]
    return ", ".join(parts) or "-"
