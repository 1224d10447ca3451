"""Values on pages: nothing in them is markup, hides, or turns its surroundings around; times of inputs are moments."""

from __future__ import annotations

import unicodedata
from datetime import UTC, datetime
from html.parser import HTMLParser
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.console.pages.values import hex_value, input_time, key_text, plain, read_input_time, text_value
from broker.operations.records import ShownValue

HOSTILE = "<script>alert(1)</script>\u202egnp.exe\n\"'</td>\x00\u200b&amp;"
_ALLOWED_TAGS = {"bdi", "span"}
_TURNING = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}


class _Read(HTMLParser):
    """What a browser makes of a piece of HTML."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: set[str] = set()
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)

    def handle_data(self, data: str) -> None:
        self.text += data


def read(html: str) -> _Read:
    parser = _Read()
    parser.feed(html.encode("utf-8", "surrogatepass").decode("utf-8", "surrogatepass"))  # no longer Markup
    parser.close()
    return parser


def test_a_hostile_text_is_shown_letter_by_letter() -> None:
    shown = read(text_value(HOSTILE))
    assert shown.tags == _ALLOWED_TAGS
    assert shown.text == "<script>alert(1)</script>U+202Egnp.exeLF\n\"'</td>NULU+200B&amp;"


@given(st.text(st.characters(codec=None), max_size=40))
def test_no_text_becomes_markup_or_is_unseen(text: str) -> None:
    shown = read(text_value(text))
    assert shown.tags <= _ALLOWED_TAGS
    for character in shown.text.replace("\n", ""):
        assert unicodedata.category(character) not in ("Cc", "Cs", "Co", "Zl", "Zp")
        assert unicodedata.bidirectional(character) not in _TURNING


@pytest.mark.parametrize("emoji", ["😀", "👩‍👩‍👧", "❤️", "🇨🇳"])
def test_emoji_stay_whole(emoji: str) -> None:
    assert text_value(emoji) == f"<bdi>{emoji}</bdi>"


def test_titles_have_the_same_names_without_marks() -> None:
    assert plain("a\u202eb\nc") == "a[U+202E]b[LF]c"


def test_bytes_are_digits_with_places_to_break_at() -> None:
    assert hex_value("00ff" * 5) == "0x00ff00ff\u200b00ff00ff\u200b00ff"


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (ShownValue("null"), '<span class="muted">NULL</span>'),
        (ShownValue("bytes", "00ff", 2), "<code>0x00ff</code>"),
        (ShownValue("text", "a<b", 3), "<bdi>a&lt;b</bdi>"),
        (ShownValue("text", "x" * 121, 121), f"<bdi>{'x' * 120}</bdi>…"),
        (ShownValue("text", "x", 70_000, is_cut=True), "<bdi>x</bdi>…"),
    ],
)
def test_a_key_is_shown_by_its_beginning(value: ShownValue, shown: str) -> None:
    assert key_text(value) == shown


def test_a_time_put_in_is_a_moment_of_the_viewers_zone() -> None:
    zone = ZoneInfo("Asia/Shanghai")
    moment_ms = int(datetime(2024, 2, 29, 16, 0, 1, tzinfo=UTC).timestamp()) * 1000
    assert input_time(moment_ms + 999, zone) == "2024-03-01T00:00:01"
    assert read_input_time("2024-03-01T00:00:01", zone) == moment_ms
    assert read_input_time("2024-03-01T00:00", zone) == moment_ms - 1000
    assert input_time(None, zone) == ""
    assert input_time(10**18, zone) == ""
    with pytest.raises(ValueError, match="isoformat"):
        read_input_time("yesterday", zone)
