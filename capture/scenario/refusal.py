"""How a scenario's statement is refused."""

from __future__ import annotations

from capture.errors import CaptureError


class StatementRefused(CaptureError):
    """A statement that cannot be played, or that a server would have refused; the message is one sentence."""
