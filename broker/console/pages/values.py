"""Values of records as pages show them: text whose every character is seen, bytes as hexadecimal, times of an input.

Invariants: no character of a value can hide, turn its surroundings around or end them; a value that is not whole says
so, and leads to all of it.

Left to others: what is cut (`operations/records.py`), names and sentences (`base.visible`).
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, tzinfo
from typing import TYPE_CHECKING, Final

from jinja2 import pass_context
from jinja2.runtime import Context
from markupsafe import Markup, escape

from broker.console.pages.base import NAME_CHARACTERS_SHOWN, zone_of
from broker.console.rendering import environment

if TYPE_CHECKING:
    from collections.abc import Sequence

    from broker.operations.records import KeyValue, ShownValue

KEY_CHARACTERS_SHOWN: Final = 120
"""Of a value in a list."""
_HEX_GROUP: Final = 8
_INPUT_FORMAT: Final = "%Y-%m-%dT%H:%M:%S"
# Controls but the line feed (which is shown and breaks the line), surrogates, private use, line and paragraph
# separators, marks of direction, and what has no width: Unicode 15.1, categories Cc, Cs, Co, Zl, Zp and part of Cf. The
# joiner U+200D and the selectors U+FE0E and U+FE0F stay: emoji are made with them.
_UNSEEN: Final = re.compile(
    "[\x00-\x09\x0b-\x1f\x7f-\xa0\xad\u061c\u180e\u200b\u200c\u200e\u200f\u2028-\u202f\u2060-\u206f\ufeff\ufff9-\ufffb"
    "\ud800-\udfff\ue000-\uf8ff\U000e0000-\U000e007f\U000f0000-\U0010ffff]"
)
# As ISO/IEC 6429 names them; a font that has pictures of them is nothing to rely on.
_CONTROLS: Final = (
    *("NUL", "SOH", "STX", "ETX", "EOT", "ENQ", "ACK", "BEL", "BS", "TAB", "LF", "VT", "FF", "CR", "SO", "SI"),
    *("DLE", "DC1", "DC2", "DC3", "DC4", "NAK", "SYN", "ETB", "CAN", "EM", "SUB", "ESC", "FS", "GS", "RS", "US"),
)
_LINE_FEED: Final = '<span class="unseen-mark" title="U+000A">LF</span>\n'


def _named(code: int) -> str:
    return _CONTROLS[code] if code < len(_CONTROLS) else f"U+{code:04X}"


def _marked(match: re.Match[str]) -> str:
    code = ord(match[0])
    return f'<span class="unseen-mark" title="U+{code:04X}">{_named(code)}</span>'


def text_value(text: str) -> Markup:
    """A text apart from what is around it; what cannot be seen in it is shown by its name."""
    marked = _UNSEEN.sub(_marked, str(escape(text))).replace("\n", _LINE_FEED)
    return Markup("<bdi>{}</bdi>").format(Markup(marked))  # noqa: S704 — escaped first, then marked


def name_text(name: str) -> Markup:
    """A name: of a database, a table, a column."""
    shown = text_value(name[:NAME_CHARACTERS_SHOWN])
    return shown if len(name) <= NAME_CHARACTERS_SHOWN else Markup("{}…").format(shown)


def plain(text: object) -> str:
    """The same without marks, for titles and labels."""
    return _UNSEEN.sub(lambda match: f"[{_named(ord(match[0]))}]", str(text)).replace("\n", "[LF]")


def hex_value(digits: str) -> str:
    """Hexadecimal digits with places to break a line at."""
    groups = [digits[start : start + _HEX_GROUP] for start in range(0, len(digits), _HEX_GROUP)]
    return "0x" + "\u200b".join(groups)


def key_text(value: ShownValue) -> Markup:
    """A value of a key in a list: its beginning."""
    text = value.text or ""
    if value.kind in ("null", "absent"):
        return Markup('<span class="muted">NULL</span>')
    is_cut = value.is_cut or len(text) > KEY_CHARACTERS_SHOWN
    text = text[:KEY_CHARACTERS_SHOWN]
    shown = Markup("<code>0x{}</code>").format(text) if value.kind == "bytes" else text_value(text)
    return Markup("{}…").format(shown) if is_cut else shown


def keys_plain(keys: Sequence[KeyValue]) -> str:
    """A primary key in one line of plain text."""
    return ", ".join(f"{key.column}:{key.value.text}"[:KEY_CHARACTERS_SHOWN] for key in keys)


def utf8_length(text: str) -> int:
    """How many bytes a text was, or is the beginning of."""
    return len(text.encode("utf-8", "surrogatepass"))


# --- times ----------------------------------------------------------------------------------------------------------


def input_time(time_ms: int | None, zone: tzinfo) -> str:
    """A point in time for an input of the type `datetime-local`, to the second; nothing for None."""
    if time_ms is None:
        return ""
    try:
        return datetime.fromtimestamp(time_ms // 1000, UTC).astimezone(zone).strftime(_INPUT_FORMAT)
    except (ValueError, OverflowError, OSError):
        return ""


def read_input_time(text: str, zone: tzinfo) -> int:
    """The milliseconds of what such an input gives. Raises ValueError."""
    local = datetime.fromisoformat(text)
    if local.tzinfo is None:
        local = local.replace(tzinfo=zone)
    return round(local.timestamp() * 1000)


@pass_context
def clock_time(context: Context, time_ms: int) -> str:
    """Time of day in the viewer's zone."""
    return datetime.fromtimestamp(time_ms / 1000, zone_of(context["request"])).strftime("%H:%M:%S")


@pass_context
def input_time_of(context: Context, time_ms: int | None) -> str:
    """`input_time` in the viewer's zone."""
    return input_time(time_ms, zone_of(context["request"]))


for _shown in (text_value, name_text, plain, hex_value, key_text, utf8_length):
    environment.filters[_shown.__name__] = _shown
environment.globals.update(clock_time=clock_time, input_time=input_time_of)
