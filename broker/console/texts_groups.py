"""Words of the pages about consumer groups and what they have consumed."""

from __future__ import annotations

from typing import Final

TEXTS: Final[dict[str, tuple[str, str]]] = {
    "group.title": ("Consumer groups", "消费组"),
}
