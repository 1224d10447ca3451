"""What the commands `binwire channel` print for people: one function of lines for each kind of answer.

What a stranger wrote is shown and never obeyed by the terminal (`render.printable`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from broker.render import fact, printable, table
from storage.words import shown_moment

if TYPE_CHECKING:
    from collections.abc import Iterator

    from broker.control import ChannelView
    from broker.operations.channels import ChannelList, ObjectsChanged, Released, ReleasePreview, SourceChanged
    from broker.operations.records import RecordDetail, SearchResult, ShownValue
    from broker.operations.sources import AccountView, DatabaseList, TableList
    from broker.render import Style
    from broker.samples import SampleLanguage


def message(changed: ObjectsChanged | SourceChanged, style: Style) -> Iterator[str]:
    """What was done, in its sentence."""
    yield printable(changed.message)


def _moment(timestamp_ms: int | None) -> str:
    return "-" if timestamp_ms is None else shown_moment(timestamp_ms)


def channels(found: ChannelList, style: Style) -> Iterator[str]:
    """A page of channels."""
    if not found.channels:
        yield "no channels"
        return
    heading = ("id", "name", "state", "consumption checkpoint", "data from", "to", "defined by")
    rows = [
        (
            each.id,
            each.name,
            each.state,
            _moment(each.consumption_checkpoint_ms),
            _moment(each.start_timestamp_ms),
            _moment(each.end_timestamp_ms),
            each.defined_by,
        )
        for each in found.channels
    ]
    yield from table(heading, rows, style)
    pages = -(-found.total // found.page_size)
    if pages > 1:
        yield f"page {found.page} of {pages}, {found.total} channels"


def state(channel: ChannelView, style: Style) -> Iterator[str]:
    """In which state a channel is, and why it stands still if it does."""
    yield f"channel {channel.id} ({printable(channel.name)}) is {channel.state}"
    if channel.reason is not None:
        yield printable(channel.reason)


def channel(channel: ChannelView, style: Style) -> Iterator[str]:
    """All that is known of a channel."""
    yield from state(channel, style)
    for name, text in (
        ("topic", channel.topic),
        ("source", channel.source),
        ("objects", ", ".join(channel.objects)),
        ("data", f"{_moment(channel.start_timestamp_ms)} to {_moment(channel.end_timestamp_ms)}"),
        ("consumed", _moment(channel.consumption_checkpoint_ms)),
        ("position", channel.position or "-"),
        ("whitelist", ", ".join(channel.whitelist_addresses) or "-"),
        ("defined", channel.defined_by),
        ("groups", ", ".join(f"{group.id} ({group.name})" for group in channel.groups) or "-"),
        ("allowed", ", ".join(channel.operations) or "-"),
    ):
        yield from fact(name, printable(text), style)
    if channel.progress is not None:
        yield from fact("progress", printable(channel.progress.sentence), style)
    if channel.precheck is not None:
        yield from _items(channel, style)


def precheck(channel: ChannelView, style: Style) -> Iterator[str]:
    """What a precheck found, with what mends it."""
    yield from state(channel, style)
    yield from _items(channel, style)


def _items(channel: ChannelView, style: Style) -> Iterator[str]:
    colours = {"failed": style.before, "passed": style.after}
    for item in channel.precheck or ():
        yield f"  {colours.get(item.outcome, '')}{item.outcome:<7}{style.end}  {item.name}: {printable(item.found)}"
        if item.means is not None:
            yield f"           {printable(item.means)}"
        for line in (item.remedy or "").splitlines():
            yield f"           > {printable(line)}"


def release_preview(previews: list[ReleasePreview]) -> Iterator[str]:
    """What goes for good with channels, and what to take back at their sources."""
    for preview in previews:
        yield f"Channel {preview.channel_id} ({printable(preview.name)}) is deleted for good:"
        for sentence in preview.goes:
            yield f"  - {printable(sentence)}"
        if preview.take_back:
            yield "To take back at the source then:"
            for sentence in preview.take_back:
                yield f"  - {printable(sentence)}"


def released(channels: list[Released], style: Style) -> Iterator[str]:
    """What became of channels that were released."""
    for each in channels:
        yield f"{each.channel_id}: {printable(each.message)}"
        for sentence in each.take_back:
            yield f"  {printable(sentence)}"


def databases(found: DatabaseList, style: Style) -> Iterator[str]:
    """The databases of a source."""
    yield from table(("object", "tables"), [(each.object, str(each.tables)) for each in found.databases], style)
    yield f"{len(found.databases)} of {found.total} databases"


def tables(found: TableList, style: Style) -> Iterator[str]:
    """The tables of a source, as objects."""
    yield from (printable(each.object) for each in found.tables)
    yield f"{len(found.tables)} of {found.total} tables"


def account(found: AccountView, style: Style) -> Iterator[str]:
    """An account at a source: what makes it, and what the server lacks."""
    yield f"account {printable(found.account)}{', which exists' if found.exists else ''}"
    yield from (printable(statement) for statement in found.statements)
    if found.my_cnf:
        yield "lines for my.cnf:" if found.is_server_known else "lines for my.cnf, as every server needs them:"
        yield from (f"  {printable(each)}" for each in found.my_cnf)
    if found.whitelist_addresses:
        yield f"the source must admit {printable(', '.join(found.whitelist_addresses))}"


def samples(found: tuple[SampleLanguage, ...], style: Style) -> Iterator[str]:
    """The languages there is sample code in."""
    rows = [(each.id, each.name, each.library) for each in found]
    yield from table(("language", "name", "library"), rows, style)


def _value(value: ShownValue | None) -> str:
    if value is None or value.kind == "absent":
        return "-"
    if value.kind == "null":
        return "NULL"
    text = f"0x{value.text}" if value.kind == "bytes" else value.text or ""
    return f"{text}… ({value.bytes_total} bytes)" if value.is_cut else text


def records(found: SearchResult, style: Style) -> Iterator[str]:
    """Changes that were found."""
    yield f"data from {_moment(found.range_start_ms)} to {_moment(found.range_end_ms)}"
    heading = ("offset", "time", "change", "database", "table", "primary key", "checkpoint")
    rows = [
        (
            str(each.offset),
            _moment(each.timestamp_ms),
            each.kind,
            each.database or "",
            each.table or "",
            ", ".join(f"{key.column}:{_value(key.value)}" for key in each.primary_key),
            each.checkpoint,
        )
        for each in found.records
    ]
    if rows:
        yield from table(heading, rows, style)
    else:
        searched = "it" if found.cursor is None else "what was looked through so far"
        yield f"no change that was asked for is in {searched}"
    for damage in found.damages:
        yield f"damaged: {printable(damage)}"
    if found.cursor is not None:
        yield f"there may be more: --cursor {found.cursor}"


def record(found: RecordDetail, style: Style) -> Iterator[str]:
    """One change with its values."""
    place = ".".join(part for part in (found.database, found.table) if part)
    yield f"{found.kind}  {printable(place)}  {_moment(found.timestamp_ms)}  {found.checkpoint}  offset {found.offset}"
    if found.context is not None:
        yield printable(found.context)
    if found.ddl is not None:
        yield printable(found.ddl)
    if found.fields:
        heading = ("field", "type", "charset", "before", "", "after")
        rows = [
            (
                each.name,
                each.type_name,
                each.charset or "",
                _value(each.before),
                "≠" if each.is_changed else "",
                _value(each.after),
            )
            for each in found.fields
        ]
        yield from table(heading, rows, style)
