"""What every page is made with: words, times and numbers as people read them, layout, parts, refusals, redirects.

Templates see the functions and filters that `environment` is given here; they find language, time zone and appearance
by the request, so a page calls `render` and nothing more. A page that stays live has its live part in a template of its
own: `view(…, parts={"list": "channels_list.html"})` answers `?part=list` with that part alone.

Invariants: a text that comes from outside is shown with its control and direction characters made visible, so that no
name can pass for another or turn its surroundings around; times are shown in the viewer's zone with UTC beside them.

Left to others: what is escaped and served (`rendering.py`), words (`texts.py`).
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Mapping
from datetime import UTC, datetime, tzinfo
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote, urlencode
from zoneinfo import ZoneInfo

from jinja2 import pass_context
from jinja2.runtime import Context
from markupsafe import Markup, escape
from msgspec import Struct
from msgspec.structs import replace
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from broker.console import texts
from broker.console.access import access_of, local_target
from broker.console.rendering import environment, render
from broker.operations.operation import HTTP_STATUS, OperationError

if TYPE_CHECKING:
    from starlette.requests import Request

PAGE_SIZE: Final = 20
THEMES: Final = ("auto", "light", "dark")
LANGUAGE_COOKIE: Final = "binwire_language"
THEME_COOKIE: Final = "binwire_theme"
ZONE_COOKIE: Final = "binwire_zone"
NAME_CHARACTERS_SHOWN: Final = 300
_YEAR_S: Final = 365 * 86_400
_ZONE_NAME: Final = re.compile(r"[A-Za-z0-9_+-]+(/[A-Za-z0-9_+-]+){0,2}\Z")
_DIRECTION: Final = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
_REFUSALS: Final = {status: refusal for refusal, status in reversed(HTTP_STATUS.items())}


class Failure(Struct, frozen=True):
    """Why a form was not done: shown above it, and beside the field that is to blame."""

    title_key: str
    sentence: str
    field: str | None
    details: Any
    status: int

    @classmethod
    def of(cls, error: OperationError) -> Failure:
        return cls(
            f"error.title.{error.refusal.value}", str(error), error.field, error.details, HTTP_STATUS[error.refusal]
        )

    @classmethod
    def of_part(cls, error: OperationError) -> Failure:
        """The same where the fields of a form are those of one argument, whose name is not in front of theirs."""
        failure = cls.of(error)
        return replace(failure, field=failure.field.rpartition(".")[2] if failure.field else None)


# --- answers --------------------------------------------------------------------------------------------------------


def view(
    request: Request, template: str, status: int = 200, *, parts: Mapping[str, str] | None = None, **values: Any
) -> Response:
    """A page; or the part of it that `?part=` names, if it is one of `parts` (name → template)."""
    wanted = request.query_params.get("part")
    if parts and wanted is not None and wanted in parts:
        template = parts[wanted]
    return render(request, template, status, parts=parts or {}, **values)


def go(request: Request, address: str) -> Response:
    """Lead to another page after something was done, from a dialog too."""
    if request.headers.get("hx-request") == "true":
        return Response(status_code=204, headers={"HX-Redirect": address})
    return RedirectResponse(address, 303)


def address(*segments: str, **query: str | int | None) -> str:
    """A path of our own made of these segments, whatever characters they have, and a query of what is not None."""
    path = "/" + "/".join(quote(segment, safe="") for segment in segments)
    given = {name: value for name, value in query.items() if value is not None and value != ""}
    return f"{path}?{urlencode(given)}" if given else path


def page_number(request: Request) -> int:
    """The page of a list that is asked for, 1 where that is none."""
    text = request.query_params.get("page", "1")
    return max(1, int(text)) if text.isascii() and text.isdigit() and len(text) < 9 else 1


# --- who looks ------------------------------------------------------------------------------------------------------


def language_of(request: Request) -> str:
    """The viewer's language: chosen before, or asked for by the browser."""
    return texts.chosen_language(request.cookies.get(LANGUAGE_COOKIE), request.headers.get("accept-language", ""))


def theme_of(request: Request) -> str:
    """The appearance that was chosen, `auto` where none was."""
    theme = request.cookies.get(THEME_COOKIE, "")
    return theme if theme in THEMES else "auto"


def zone_of(request: Request) -> tzinfo:
    """The viewer's time zone as the browser told it, UTC until it has."""
    return _zone(request.cookies.get(ZONE_COOKIE, "").replace("%2F", "/").replace("%2B", "+"))


@lru_cache(maxsize=64)
def _zone(name: str) -> tzinfo:
    if not _ZONE_NAME.match(name) or len(name) > 64:
        return UTC
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        return UTC


# --- values as people read them -------------------------------------------------------------------------------------


def visible(text: object, characters_max: int = NAME_CHARACTERS_SHOWN) -> Markup:
    """A text from outside: what cannot be seen is shown by its name, the rest is kept apart from what is around it."""
    whole = str(text)
    pieces = Markup().join(_visible_character(character) for character in whole[:characters_max])
    return Markup("<bdi>{}{}</bdi>").format(pieces, "…" if len(whole) > characters_max else "")


def _visible_character(character: str) -> Markup:
    if character in "\n\t" or not _is_unseen(character):
        return escape(character)
    code = ord(character)
    shown = chr(0x2400 + code) if code < 0x20 else f"U+{code:04X}"
    return Markup('<span class="tag" title="U+{0:04X}">{1}</span>').format(code, shown)


def _is_unseen(character: str) -> bool:
    return character in _DIRECTION or unicodedata.category(character) in ("Cc", "Cs", "Co", "Zl", "Zp")


@pass_context
def time(context: Context, time_ms: int | None, *, millis: bool = False) -> Markup:
    """A point in time in the viewer's zone; UTC is what hovering tells. A dash for None."""
    if time_ms is None:
        return Markup('<span class="muted">-</span>')
    try:
        utc = datetime.fromtimestamp(time_ms / 1000, UTC)
        local = utc.astimezone(zone_of(context["request"]))
    except (ValueError, OverflowError, OSError):
        return Markup('<span class="mono">{}</span>').format(time_ms)
    shown = local.strftime("%Y-%m-%d %H:%M:%S") + (f".{time_ms % 1000:03d}" if millis else "")
    return Markup('<time class="nowrap" datetime="{}" title="{}">{}</time>').format(
        utc.strftime("%Y-%m-%dT%H:%M:%SZ"), utc.strftime("%Y-%m-%d %H:%M:%S UTC"), shown
    )


def number(value: float | None) -> str:
    """A number with its thousands apart."""
    if value is None:
        return "-"
    return f"{value:,}" if isinstance(value, int) else f"{value:,.1f}"


def size(count_bytes: int | None) -> str:
    """A number of bytes in the unit that suits it."""
    if count_bytes is None:
        return "-"
    amount = float(count_bytes)
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if abs(amount) < 1024 or unit == "TiB":
            return f"{count_bytes:,} B" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1024
    raise AssertionError(unit)


def digest(text: str) -> str:
    """A short word of letters and digits for any text: a part of an element's id."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:12]


def duration(seconds: float | None) -> str:
    """A duration in its two largest units."""
    if seconds is None:
        return "-"
    whole = max(0, int(seconds))
    parts = [(whole // 86_400, "d"), (whole // 3_600 % 24, "h"), (whole // 60 % 60, "min"), (whole % 60, "s")]
    while len(parts) > 1 and not parts[0][0]:
        parts.pop(0)
    return " ".join(f"{amount} {unit}" for amount, unit in parts[:2] if amount) or "0 s"


@pass_context
def t(context: Context, key: str, /, **values: object) -> Markup:
    """The text of this key in the viewer's language, around values that are markup or are escaped."""
    return escape(texts.t(key, language=language_of(context["request"]))).format(**values)


# --- what templates ask ---------------------------------------------------------------------------------------------


@pass_context
def layout(context: Context) -> str:
    """What a page is put into: the frame, or a dialog that is open over another page."""
    request: Request = context["request"]
    return "dialog.html" if request.headers.get("hx-target") == "dialog-body" else "base.html"


@pass_context
def page_address(context: Context, **changes: str | int | None) -> str:
    """The address of this page with some of its query changed; None takes one out."""
    request: Request = context["request"]
    query = [(name, value) for name, value in request.query_params.multi_items() if name not in {*changes, "said"}]
    query += [(name, str(value)) for name, value in changes.items() if value is not None]
    return request.url.path + (f"?{urlencode(query)}" if query else "")


@pass_context
def said(context: Context) -> str | None:
    """What was just done, as the page that was led to tells it."""
    key = f"said.{context['request'].query_params.get('said', '')}"
    return t(context, key) if key in texts.TEXTS else None


@pass_context
def viewer(context: Context) -> dict[str, str]:
    """Language, appearance and zone of who looks."""
    request: Request = context["request"]
    zone = zone_of(request)
    return {
        "language": language_of(request),
        "theme": theme_of(request),
        "zone": str(zone) if isinstance(zone, ZoneInfo) else "UTC",
    }


@pass_context
def signed_in(context: Context) -> bool:
    """Whether who looks has logged in, and can log out."""
    return access_of(context["request"]).is_signed_in


def error_title(status: int) -> str:
    """The key of what a status means, for the page that tells it."""
    refusal = _REFUSALS.get(status) if status < 500 or status in (502, 503) else None
    return f"error.title.{refusal.value}" if refusal is not None else "error.title.internal"


environment.globals.update(
    t=t,
    time=time,
    layout=layout,
    page_address=page_address,
    address=address,
    said=said,
    signed_in=signed_in,
    viewer=viewer,
    error_title=error_title,
    languages=texts.LANGUAGE_NAMES,
    themes=THEMES,
)
environment.filters.update(visible=visible, number=number, size=size, duration=duration, hash=digest)


# --- preferences ----------------------------------------------------------------------------------------------------


async def home(request: Request) -> Response:
    """Where everything begins."""
    return RedirectResponse("/channels", 307)


async def preferences(request: Request) -> Response:
    """Remember language or appearance in a cookie and lead back."""
    query = request.query_params
    response = RedirectResponse(local_target(query.get("next", "/")), 303)
    for name, cookie, allowed in (
        ("language", LANGUAGE_COOKIE, texts.LANGUAGES),
        ("theme", THEME_COOKIE, THEMES),
    ):
        if (value := query.get(name)) in allowed:
            response.set_cookie(cookie, str(value), max_age=_YEAR_S, samesite="lax", httponly=True)
    return response


ROUTES: Final = (Route("/", home), Route("/preferences", preferences))
