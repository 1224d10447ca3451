"""Track data changes: the records of a channel looked for, found and looked at, one record with all that is in it.

A search is its address: whoever opens it sees the same. Times of the form are those of the viewer's zone; they become
milliseconds of the epoch in the address (`_canonical`), so that a link means the same moment in another zone. A search
that has spent its time before it has found a page full shows what there is and how far it came, and goes on by itself;
without scripts, by a link.

Where nothing at all is asked the page shows the last minute of the data, and renews itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, get_args
from urllib.parse import quote, urlencode

from msgspec import Struct
from starlette.exceptions import HTTPException
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from broker.console import texts
from broker.console.pages.base import PAGE_SIZE, Failure, language_of, view, zone_of
from broker.console.pages.values import read_input_time
from broker.console.rendering import page_call
from broker.console.slices import DownloadResponse
from broker.operations.operation import OperationError, Refusal
from broker.operations.records import DEFAULT_KINDS, Kind, Operator, RecordDetail, SearchResult

if TYPE_CHECKING:
    from starlette.datastructures import QueryParams
    from starlette.requests import Request

KINDS: Final[tuple[str, ...]] = get_args(Kind)
OPERATORS: Final[tuple[str, ...]] = get_args(Operator)
WITHOUT_VALUE: Final = ("is null", "is not null")
CONDITIONS_MAX: Final = 32
SHOWN_CHARACTERS_MAX: Final = 1 << 20
"""Of all values of one record on its page; beyond it each is shown by its beginning."""
BEGINNING_CHARACTERS: Final = 1_024
SIDES: Final = ("before", "after")
SPANS: Final = ("all", "between")
_TIMES: Final = ("from", "to")


class ConditionRow(Struct, frozen=True):
    """A line of the form: what was put in, or an empty one to put something in."""

    column: str = ""
    operator: str = "="
    value: str = ""


class Asked(Struct, frozen=True):
    """What a search's address says."""

    database: str
    table: str
    kinds: tuple[str, ...]
    conditions: tuple[ConditionRow, ...]
    from_ms: int | None
    to_ms: int | None
    cursor: str | None
    limit: int

    @property
    def is_default(self) -> bool:
        """Nothing at all is asked: the last minute of the data is shown."""
        asked = self.database or self.table or self.kinds or self.conditions or self.cursor
        return not asked and self.from_ms is None and self.to_ms is None

    @property
    def span(self) -> str:
        """Which choice of time the form shows."""
        return "all" if not self.from_ms and self.to_ms is None else "between"

    def arguments(self, channel_id: str) -> dict[str, Any]:
        """Those of `search_records`; what is empty is not asked."""
        conditions = [
            {
                "column": row.column,
                "operator": row.operator,
                "value": None if row.operator in WITHOUT_VALUE else row.value,
            }
            for row in self.conditions
        ]
        given: dict[str, Any] = {"channel_id": channel_id, "conditions": conditions, "kinds": self.kinds}
        times = {"from_ms": self.from_ms, "to_ms": self.to_ms, "cursor": self.cursor, "limit": self.limit}
        names = {"database": self.database or None, "table": self.table or None}
        return given | {name: value for name, value in (times | names).items() if value is not None}


async def records(request: Request) -> Response:
    """The page of searches, its live part, and the rows that follow those that are shown."""
    channel_id = request.path_params["channel_id"]
    query = request.query_params
    failure: Failure | None = None
    if "span" in query:
        try:
            return RedirectResponse(_canonical(request), 303)
        except OperationError as error:
            failure = Failure.of(error)
    asked = _asked(query)
    channel = await page_call(request, "show_channel", {"channel_id": channel_id})
    result: SearchResult | None = None
    if failure is None:
        try:
            result = await page_call(request, "search_records", asked.arguments(channel_id))
        except OperationError as error:
            failure = Failure.of(error)
    status = 200 if failure is None else failure.status
    return view(
        request,
        "records.html",
        status,
        parts={"list": "records_list.html", "rows": "records_rows.html"},
        tab="records",
        channel=channel,
        asked=asked,
        result=result,
        failure=failure,
        rows=_condition_rows(asked, query),
        kinds=KINDS,
        default_kinds=DEFAULT_KINDS,
        operators=OPERATORS,
        spans=SPANS,
        is_live=asked.is_default and failure is None and query.get("live") != "0",
        is_held=query.get("hold") == "1",
    )


async def record(request: Request) -> Response:
    """One record."""
    channel_id = request.path_params["channel_id"]
    channel = await page_call(request, "show_channel", {"channel_id": channel_id})
    detail: RecordDetail = await page_call(
        request, "show_record", {"channel_id": channel_id, "offset": request.path_params["offset"]}
    )
    shown_characters = sum(
        len(value.text or "") for field in detail.fields for value in (field.before, field.after) if value is not None
    )
    return view(
        request,
        "record.html",
        tab="records",
        channel=channel,
        record=detail,
        changed_count=sum(field.is_changed for field in detail.fields),
        characters_max=None if shown_characters <= SHOWN_CHARACTERS_MAX else BEGINNING_CHARACTERS,
    )


async def download(request: Request) -> Response:
    """All of one value, as its bytes lie in the record."""
    if request.path_params["side"] not in SIDES:
        raise HTTPException(404)
    return DownloadResponse(await page_call(request, "download_value", request.path_params))


def _asked(query: QueryParams) -> Asked:
    conditions = zip(query.getlist("column"), query.getlist("operator"), query.getlist("value"), strict=False)
    return Asked(
        query.get("database", ""),
        query.get("table", ""),
        tuple(dict.fromkeys(query.getlist("kind"))),
        tuple(ConditionRow(*row) for row in conditions if row[0]),
        _whole_number(query.get("from_ms")),
        _whole_number(query.get("to_ms")),
        query.get("cursor") or None,
        _whole_number(query.get("limit")) or PAGE_SIZE,
    )


def _whole_number(text: str | None) -> int | None:
    return int(text) if text is not None and text.isascii() and text.isdigit() and len(text) < 19 else None


def _condition_rows(asked: Asked, query: QueryParams) -> list[ConditionRow]:
    """Those that were put in, and an empty one where there is none or another was asked for."""
    rows = list(asked.conditions)
    if not rows or ("add" in query and len(rows) < CONDITIONS_MAX):
        rows.append(ConditionRow())
    return rows


def _canonical(request: Request) -> str:
    """The address of a search as the form gave it: without what is empty, and with times that mean one moment. Of an
    empty form it is that of all there is.

    Raises OperationError for a time that is none.
    """
    query = request.query_params
    asked = _asked(query)
    pairs: list[tuple[str, str]] = [("database", asked.database), ("table", asked.table)]
    if set(asked.kinds) != set(DEFAULT_KINDS):
        pairs += [("kind", kind) for kind in asked.kinds]
    for row in asked.conditions:
        pairs += [("column", row.column), ("operator", row.operator)]
        pairs.append(("value", "" if row.operator in WITHOUT_VALUE else row.value))
    if query["span"] == "between":
        pairs += [(f"{name}_ms", str(_moment(request, name))) for name in _TIMES if query.get(name)]
    pairs += [("add", "1")] if "add" in query else []
    # An empty value is looked for: `column = ''`.
    kept = [(name, value) for name, value in pairs if value or name == "value"] or [("from_ms", "0")]
    path = quote(request.url.path, safe="/%")
    return f"{path}?{urlencode(kept)}"


def _moment(request: Request, name: str) -> int:
    """The end of a range lies behind all milliseconds of its second."""
    text = request.query_params[name]
    try:
        moment_ms = read_input_time(text, zone_of(request))
    except (ValueError, OverflowError):
        sentence = texts.t("records.time.wrong", language=language_of(request), value=text[:64])
        raise OperationError(Refusal.INVALID, sentence, field=name) from None
    return moment_ms + 999 if name == "to" and moment_ms % 1000 == 0 else moment_ms


ROUTES: Final = (
    Route("/channels/{channel_id}/records", records),
    Route("/channels/{channel_id}/records/{offset:int}", record),
    Route("/channels/{channel_id}/records/{offset:int}/values/{index:int}/{side}", download),
)
