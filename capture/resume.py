"""Where a session begins, and with which schema history: proven against the source before anything is streamed.

A new channel resolves its start, takes the snapshot and makes both durable together. Afterwards the log says where it
ends, and the catalog's schema versions up to there are the history; what lies beyond is dropped, the stream brings it
again. Where that history was lost (storage/salvage.py), the definitions are read anew at the log's end, with the proof
that a new channel's need. That the source is the one the position came from is `capture/identity.py`'s business.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from msgspec.structs import replace

from capture.dialect import Dialect
from capture.errors import NEW_CHANNEL, CaptureError, SourceRefused
from capture.failover import known_point
from capture.identity import require_same_source
from capture.objects import objects_in_force, objects_text, take_objects
from capture.past import history_at, require_readable
from capture.position import BinlogPosition, GtidSet, ResumePoint
from capture.progress import quiet
from capture.schema import SchemaHistory
from capture.selection import Selection
from capture.snapshot import Definitions, DefinitionsChanged, definitions_at, definitions_now
from capture.start import EARLIEST, NOW, point_at, resolve_start
from capture.task import DML

if TYPE_CHECKING:
    from capture.channel import ChannelSpec
    from capture.progress import Tell
    from capture.source import ServerInfo, Source
    from storage.catalog import Catalog, ChannelRow
    from storage.log import Log


class Prepared(NamedTuple):
    """What a session begins with. `refused` says why objects that were asked for are not those of `selection`."""

    resume: ResumePoint
    history: SchemaHistory
    selection: Selection
    refused: str | None = None


async def prepare(
    source: Source, info: ServerInfo, spec: ChannelSpec, log: Log, catalog: Catalog, tell: Tell = quiet
) -> Prepared:
    """The position to stream from and the history at it. Raises SourceRefused, SourceUnavailable, PositionError."""
    row, is_history_lost = await catalog.run(_look, catalog, spec.id)
    selection = Selection(spec.objects, info.lower_case_table_names)
    known = known_point(log.recovered, row.start)
    if known is None:
        return Prepared(*await _begin(source, info, spec, selection, catalog, row, tell), selection)
    await require_same_source(source, info, known)
    if is_history_lost:
        return Prepared(known, await _history_again(source, info, spec, selection, known, catalog, row), selection)
    number, position = known.position.order
    await catalog.run(catalog.drop_schema_versions_after, spec.id, number, position)
    refused = None
    if (objects := objects_in_force(row)) and set(objects) != set(spec.objects):
        try:
            await take_objects(
                source, info, spec, row, known.position, log, catalog, lambda added: _history(info, added)
            )
        except SourceRefused as refusal:
            refused = f"the objects stay {', '.join(objects)}: {refusal}"
            selection = Selection(objects, info.lower_case_table_names)
    return Prepared(known, await _kept_history(info, selection, catalog, spec.id), selection, refused)


def _look(catalog: Catalog, channel_id: str) -> tuple[ChannelRow, bool]:
    """The channel's row, and whether its schema versions are not to be relied on."""
    row = catalog.channel(channel_id)
    if row is None:
        raise CaptureError(f"the catalog has no channel {channel_id!r}")
    return row, catalog.has_lost_definitions(channel_id)


def _history(info: ServerInfo, selection: Selection) -> SchemaHistory:
    dialect, explicit = Dialect.of(info.version), info.variables.get("explicit_defaults_for_timestamp")
    return SchemaHistory(
        dialect,
        selection,
        lower_case_table_names=info.lower_case_table_names,
        collation_server=info.variables.get("collation_server"),
        explicit_defaults_for_timestamp=dialect.explicit_defaults_for_timestamp
        if explicit is None
        else explicit == "ON",
    )


async def _kept_history(info: ServerInfo, selection: Selection, catalog: Catalog, channel_id: str) -> SchemaHistory:
    history = _history(info, selection)
    history.restore_entries(await catalog.run(catalog.schema_entries, channel_id))
    return history


# ---- a new channel ----


async def _begin(
    source: Source,
    info: ServerInfo,
    spec: ChannelSpec,
    selection: Selection,
    catalog: Catalog,
    row: ChannelRow,
    tell: Tell,
) -> tuple[ResumePoint, SchemaHistory]:
    definitions = None
    tell(f"looking for the start position: {spec.start}", None)
    if not source.queryable:
        point = await _start_without_server(source, info, spec)
    elif spec.start == NOW:
        position, gtid_set, definitions = await definitions_now(source, info, selection, tell)
        point = point_at(info, position, gtid_set)
    else:
        point = await resolve_start(source, info, spec.start)
        definitions = await definitions_at(source, info, selection, point.position, tell)
        tell(f"seeing that every row behind {point.position} can be read", None)
        await _require_readable(source, info, spec, selection, point.position, definitions)
    tell(f"making the start {point.position} and the definitions there durable", None)
    history = await history_at(point.position, definitions, spec.schema_file, _history(info, selection))
    versions = history.take_rows(spec.id)
    row = replace(row, start=point.to_json(), objects=objects_text(spec.objects))
    await catalog.run(catalog.renew_definitions, row, versions)
    return point, await _kept_history(info, selection, catalog, spec.id)


async def rehearse_definitions(source: Source, info: ServerInfo, spec: ChannelSpec, position: BinlogPosition) -> None:
    """See that a channel that starts at a position in the past could read every row behind it. Changes nothing.

    Raises SourceRefused: DefinitionsChanged with the tables whose definition is not known.
    """
    selection = Selection(spec.objects, info.lower_case_table_names)
    definitions = await definitions_at(source, info, selection, position)
    await _require_readable(source, info, spec, selection, position, definitions)


async def _require_readable(
    source: Source,
    info: ServerInfo,
    spec: ChannelSpec,
    selection: Selection,
    position: BinlogPosition,
    definitions: Definitions,
) -> None:
    """Where not every definition of a start in the past is known, see that every row can be read all the same."""
    if DML in spec.data_types and (definitions.unknown or definitions.replaced):
        history = await history_at(position, definitions, spec.schema_file, _history(info, selection))
        await require_readable(source, info, selection, position, definitions, history)


async def _start_without_server(source: Source, info: ServerInfo, spec: ChannelSpec) -> ResumePoint:
    if info.files:
        return await resolve_start(source, info, spec.start)
    assert info.beginning is not None
    position = info.beginning if spec.start == EARLIEST else _file_position(spec.start)
    return ResumePoint(position, GtidSet(), info.server_uuid, info.server_id, info.flavour)


def _file_position(text: str) -> BinlogPosition:
    try:
        return BinlogPosition.parse(text)
    except CaptureError:
        raise SourceRefused(
            f"start = {text!r} needs a binlog; this source starts at earliest or at file:position"
        ) from None


# ---- a channel whose history was lost ----


async def _history_again(
    source: Source,
    info: ServerInfo,
    spec: ChannelSpec,
    selection: Selection,
    known: ResumePoint,
    catalog: Catalog,
    row: ChannelRow,
) -> SchemaHistory:
    """The definitions that hold where the log ends, proven as those of a new channel are."""
    if not source.queryable:
        raise SourceRefused(
            f"the catalog lost the definitions of the tables at {known.position}, and binlog files do not tell them; "
            f"{NEW_CHANNEL}"
        )
    definitions = await definitions_at(source, info, selection, known.position)
    try:
        await _require_readable(source, info, spec, selection, known.position, definitions)
    except DefinitionsChanged as changed:
        raise SourceRefused(f"the catalog was lost, and {changed.found}; {NEW_CHANNEL}") from changed
    history = await history_at(known.position, definitions, spec.schema_file, _history(info, selection))
    versions = history.take_rows(spec.id)
    row = replace(row, start=row.start or known.to_json(), objects=objects_text(spec.objects))
    await catalog.run(catalog.renew_definitions, row, versions)
    return await _kept_history(info, selection, catalog, spec.id)
