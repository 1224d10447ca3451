"""A peer's program in Java: the libraries of a POM, resolved by Maven, and our sources, compiled by the JDK here."""

from __future__ import annotations

import subprocess
from pathlib import Path

from bench.harness import PeerMissingError
from bench.peers import require_checkout


def class_path(family: str, version: str, pom: Path, sources: Path) -> str:
    """The class path of a peer's program, whose sources are in a folder and beside us. Raises PeerMissingError."""
    require_checkout(f"{family} {version}")
    from tests.interop import java_clients
    from tests.tools.workplace import ToolError

    files = [Path(__file__).with_name("Seen.java"), *sorted(sources.rglob("*.java"))]
    try:
        return java_clients.program_class_path(family, version, pom, files)
    except (ToolError, OSError, subprocess.SubprocessError) as error:
        raise PeerMissingError(f"{family} {version} cannot be had: {error}") from None
