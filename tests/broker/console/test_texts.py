"""Words: both languages for each key, the same values in both, and no key that a template or page does not find."""

from __future__ import annotations

import re
from pathlib import Path
from string import Formatter

import pytest

import broker.console.pages as pages_package
from broker.console import texts
from broker.console.rendering import FOLDER

_USED_WHOLE = re.compile(r"""\bt\(\s*(?:context,\s*)?["']([A-Za-z_. ]+)["']\s*[,)]""")
_USED_BY_PREFIX = re.compile(r"""\bt\(\s*(?:context,\s*)?["']([a-z_.]+\.)["']\s*~""")


def _sources() -> list[Path]:
    folder = Path(pages_package.__file__).parent
    return [*sorted((FOLDER / "templates").rglob("*.html")), *sorted(folder.glob("*.py"))]


def _values(text: str) -> set[str]:
    return {name for _, name, _, _ in Formatter().parse(text) if name is not None}


def test_no_key_is_in_two_tables():
    assert sum(len(table) for table in texts.TABLES) == len(texts.TEXTS)


@pytest.mark.parametrize("key", sorted(texts.TEXTS))
def test_a_key_has_both_languages_with_the_same_values(key):
    english, chinese = texts.TEXTS[key]
    assert english.strip() == english != ""
    assert chinese.strip() == chinese != ""
    assert _values(english) == _values(chinese)


@pytest.mark.parametrize("source", _sources(), ids=lambda path: path.name)
def test_a_page_uses_keys_that_there_are(source):
    text = source.read_text("utf-8")
    assert [key for key in _USED_WHOLE.findall(text) if key not in texts.TEXTS] == []
    for prefix in _USED_BY_PREFIX.findall(text):
        assert any(key.startswith(prefix) for key in texts.TEXTS), prefix


def test_a_text_is_looked_up_in_a_language_with_its_values():
    assert texts.t("list.page", page=2, pages=3) == "Page 2 of 3"
    assert texts.t("list.page", language="zh", page=2, pages=3) == "第 2 / 3 页"
    with pytest.raises(KeyError):
        texts.t("no.such.key")


@pytest.mark.parametrize(
    ("cookie", "accepted", "chosen"),
    [
        (None, "", "en"),
        (None, "zh-CN,zh;q=0.9,en;q=0.8", "zh"),
        (None, "en-GB,en;q=0.9,zh;q=0.8", "en"),
        (None, "de,fr;q=0.9", "en"),
        (None, "de, zh;q=0.5, en;q=0.1", "zh"),
        (None, "zh;q=0, en", "en"),
        (None, "zh;q=nonsense, en;q=0.2", "en"),
        ("en", "zh", "en"),
        ("zh", "en", "zh"),
        ("xx", "zh", "zh"),
    ],
)
def test_the_language_is_the_chosen_one_or_the_browsers_first(cookie, accepted, chosen):
    assert texts.chosen_language(cookie, accepted) == chosen


def test_every_key_is_used_somewhere():
    used = "\n".join(source.read_text("utf-8") for source in _sources())
    whole = set(_USED_WHOLE.findall(used)) | set(re.findall(r"""["']([a-z_]+\.[A-Za-z_. ]+)["']""", used))
    prefixes = tuple(set(_USED_BY_PREFIX.findall(used)) | {"said.", "error.title."})
    assert [key for key in texts.TEXTS if key not in whole and not key.startswith(prefixes)] == []
