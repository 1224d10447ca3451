"""The console's words in English and Chinese: one row per key, both languages side by side.

Owns the lookup, the choice of a language, and which tables there are. Invariant: every key has both languages and both
take the same values. Sentences that operations give (reasons, remedies, refusals) are shown as they are, in English.

Left to others: the words themselves, by page group: `texts_frame.py`, `texts_channels.py`, `texts_groups.py` and those
of the pages that follow data.
"""

from __future__ import annotations

from typing import Final

from broker.console import texts_channels, texts_frame, texts_groups, texts_records, texts_watch, texts_wizard

LANGUAGES: Final = ("en", "zh")
LANGUAGE_NAMES: Final = {"en": "English", "zh": "中文"}
TABLES: Final = (
    texts_frame.TEXTS,
    texts_channels.TEXTS,
    texts_groups.TEXTS,
    texts_wizard.TEXTS,
    texts_records.TEXTS,
    texts_watch.TEXTS,
)
TEXTS: Final[dict[str, tuple[str, str]]] = {key: words for table in TABLES for key, words in table.items()}


def t(key: str, /, *, language: str = "en", **values: object) -> str:
    """The text of a key in a language, with its `{values}` put in; KeyError for a key there is none of."""
    text = TEXTS[key][LANGUAGES.index(language)]
    return text.format_map(values) if values else text


def chosen_language(cookie: str | None, accept_language: str) -> str:
    """The language somebody chose before, or else the first of `Accept-Language` that there is; English otherwise."""
    if cookie in LANGUAGES:
        return cookie
    best, best_weight = LANGUAGES[0], 0.0
    for part in accept_language.split(","):
        name, _, parameters = part.partition(";")
        primary = name.strip().lower().partition("-")[0]
        weight = _weight(parameters)
        if primary in LANGUAGES and weight > best_weight:
            best, best_weight = primary, weight
    return best


def _weight(parameters: str) -> float:
    name, _, number = parameters.strip().partition("=")
    if name.strip().lower() != "q":
        return 1.0
    try:
        return min(1.0, float(number))
    except ValueError:
        return 0.0
