"""Whether a source can be captured, item by item: what was looked at, what was found, and what mends it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from capture.channel import ChannelSpec
    from capture.source import Source


@dataclass(frozen=True, slots=True)
class CheckResult:
    """`remedy` is the statement or my.cnf line that mends it, None when the item passed."""

    name: str
    passed: bool
    found: str
    remedy: str | None


async def run(source: Source, spec: ChannelSpec) -> Sequence[CheckResult]:
    """Check every item; items that need an earlier one are left out once that failed. Changes nothing."""
    raise NotImplementedError
