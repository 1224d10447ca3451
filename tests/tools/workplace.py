"""Where the test tools keep what they fetch, and how they tell what they are doing.

Owns the folders of a checkout that hold private installations (``.servers``, ``.clients``, ``.venvs``), the download
cache shared by all checkouts of a user, checksums, the lock that lets two runs prepare the same thing one after the
other, and how their commands are run. Invariant: nothing outside the checkout and the cache is written, and a
half-finished installation is never used: folders are filled beside their final name and renamed. Standard library only,
so that it runs before any package is installed.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

CHECKOUT = Path(__file__).resolve().parents[2]
SERVERS_DIRECTORY = CHECKOUT / ".servers"
CLIENTS_DIRECTORY = CHECKOUT / ".clients"
VENVS_DIRECTORY = CHECKOUT / ".venvs"
LOCKS_DIRECTORY = Path(__file__).resolve().parent / "locks"

_READ_BYTES = 1 << 20


class ToolError(Exception):
    """A server or client cannot be had here; the message is one sentence saying why and what to do."""


class NotPublishedError(ToolError):
    """The public registry in use does not carry this version; the message names both."""


def say(sentence: str) -> None:
    """Tell the person who waits what is going on; stderr, so that results stay alone on stdout."""
    print(f"[tools] {sentence}", file=sys.__stderr__, flush=True)


def run_quietly(
    command: Sequence[str],
    *,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    timeout_s: float | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run a command that asks nothing; what it printed and its status are the caller's to look at."""
    return subprocess.run(
        command,
        cwd=cwd,
        env=env,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )


def cache_directory() -> Path:
    """The download cache: ``$BINWIRE_CACHE``, else ``$XDG_CACHE_HOME/binwire``, else ``~/.cache/binwire``."""
    named = os.environ.get("BINWIRE_CACHE")
    if named:
        return Path(named)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "binwire"


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file, as hexadecimal text."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_READ_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


@contextlib.contextmanager
def exclusive(path: Path) -> Iterator[None]:
    """Hold the lock that belongs to ``path`` (a file beside it); waits while another process holds it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_name(path.name + ".lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def cached(path: Path, sha256: str, fetch: Callable[[Path], None], other: str) -> Path:
    """A file of the cache with its recorded checksum, put into its folder by ``fetch`` if it is not there.

    Raises ToolError, with the words of ``other``, for a file that is not the recorded one.
    """
    with exclusive(path.parent):
        if path.is_file() and sha256_of(path) == sha256:
            return path
        path.parent.mkdir(parents=True, exist_ok=True)
        fetch(path.parent)
        if not path.is_file() or sha256_of(path) != sha256:
            path.unlink(missing_ok=True)
            raise ToolError(f"{other} than the recorded one")
    return path


def installed_once(target: Path, stamp: str, fill: Callable[[Path], None]) -> Path:
    """Have ``target`` filled for ``stamp``: kept when its stamp matches, else filled anew beside it and renamed.

    The stamp is what was asked for (versions, checksums); whoever changes a recorded version gets a new installation.
    """
    mark = target / ".stamp"
    with exclusive(target):
        if mark.is_file() and mark.read_text(encoding="utf-8") == stamp:
            return target
        fresh = Path(tempfile.mkdtemp(prefix=target.name + ".new-", dir=target.parent))
        try:
            fresh.chmod(0o755)
            fill(fresh)
            (fresh / ".stamp").write_text(stamp, encoding="utf-8")
            if target.exists():
                shutil.rmtree(target)
            fresh.rename(target)
        finally:
            shutil.rmtree(fresh, ignore_errors=True)
    return target
