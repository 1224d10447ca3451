"""Both ways of making records: generated Python, and the compiled modules where they were built."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from capture import program
from storage import encoding

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module", params=["python", "compiled"])
def way(request: pytest.FixtureRequest) -> Iterator[str]:
    """The way that records are made by. For whole modules: `pytestmark = pytest.mark.usefixtures("way")`."""
    way: str = request.param
    if way == "compiled" and (program._rows is None or encoding._framing is None):
        pytest.skip("the compiled modules are not there, or BINWIRE_ACCELERATOR=off")
    with pytest.MonkeyPatch.context() as patch:
        if way == "python":
            patch.setattr(program, "_rows", None)
            patch.setattr(encoding, "_framing", None)
        yield way
