"""What Binwire is measured against, a file per peer: how it is had, started, asked and ended."""

from __future__ import annotations

from pathlib import Path

from bench.harness import PeerMissingError


def require_checkout(name: str) -> None:
    """Look for the tools that fetch peers, before anything of them is imported. Raises PeerMissingError."""
    # Where we are installed, `tests` is somebody else's.
    if not (Path(__file__).resolve().parents[2] / "tests" / "interop" / "java_clients.py").is_file():
        raise PeerMissingError(f"{name} is fetched by the tools of a checkout, and this is none")
