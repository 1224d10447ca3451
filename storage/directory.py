"""The data directory: who may use it, what wrote it, and how the last run ended.

    lock        empty; flock-ed by the one process that uses the directory
    format      the format version, decimal, one line
    running     the boot id of the machine while a run lasts; gone after an orderly end
    ready.json  addresses and process id while serving
    catalog.db, control.sock, topics/, audit*.jsonl   named here, owned by others

Invariant: between `open` and `close` no other process has the directory open, and `running` says which boot of the
machine the run belongs to, durably. If it is still there at the next `open`, the run crashed; if it names another
boot, what was not flushed may be lost.
"""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from storage.errors import DataDirectoryInUse, StorageError, UnsupportedFormat
from storage.files import DIRECTORY_MODE, FILE_MODE, Files

FORMAT_VERSION: Final = 1
_PARTITION: Final = "-0"
_BOOT_ID_LINUX: Final = Path("/proc/sys/kernel/random/boot_id")
_BOOT_ID_MACOS: Final = ("/usr/sbin/sysctl", "-n", "kern.bootsessionuuid")


def boot_id() -> str:
    """A name for this boot of the machine; empty where there is none to be had, which equals no other boot."""
    try:
        if sys.platform == "darwin":
            asked = subprocess.run(_BOOT_ID_MACOS, capture_output=True, check=True, text=True)  # noqa: S603 — constant
            return asked.stdout.strip()
        return _BOOT_ID_LINUX.read_text().strip()
    except (OSError, subprocess.CalledProcessError):
        return ""


def catalog_path(path: Path) -> Path:
    """The catalog of the data directory at `path`."""
    return path / "catalog.db"


def audit_paths(path: Path) -> list[Path]:
    """The files of the log of changes (`broker/console/audit.py`)."""
    return sorted(path.glob("audit*.jsonl"))


def topic_path(path: Path, topic: str) -> Path:
    """The one partition of `topic` in the data directory at `path`."""
    return path / "topics" / f"{topic}{_PARTITION}"


def require_data_directory(path: Path) -> None:
    """Return if `path` is a data directory that this user may read and this version knows; nothing is touched.

    Raises:
        UnsupportedFormat: another version of Binwire wrote it, or it is something else.
        StorageError: it is not there, or cannot be read.
    """
    try:
        os.listdir(path)  # noqa: PTH208 — asks whether it may be listed, which a mode does not tell
        if not (path / "format").is_file():
            raise UnsupportedFormat(
                f"{path} is not a data directory of Binwire (it has no file `format`); name the one that `data_dir` "
                f"in the configuration names"
            )
        _check_format(path)
        if (path / "topics").is_dir():
            os.listdir(path / "topics")  # noqa: PTH208 — as above
    except OSError as error:
        raise StorageError(
            f"the data directory {path} cannot be read ({error.strerror}); name one that is there and that this user "
            f"may read"
        ) from error


def topics_in(path: Path) -> list[str]:
    """The topics that have a log in the data directory at `path`, by name.

    Raises:
        OSError: the system refuses to list it.
    """
    folder = path / "topics"
    names = os.listdir(folder) if folder.is_dir() else []  # noqa: PTH208 — names are wanted
    return sorted(name.removesuffix(_PARTITION) for name in names if name.endswith(_PARTITION))


class DataDirectory:
    """An open data directory; made by `open`, given back by `close`."""

    def __init__(self, path: Path, lock: int, files: Files, *, crashed: bool, boot_changed: bool) -> None:
        self.path = path
        self.crashed = crashed
        """The run before this one did not end orderly."""
        self.boot_changed = boot_changed
        """And the machine was started anew since, so that what was not flushed may be lost."""
        self._lock = lock
        self._files = files

    @property
    def catalog_path(self) -> Path:
        return catalog_path(self.path)

    @property
    def control_socket_path(self) -> Path:
        return self.path / "control.sock"

    @property
    def ready_path(self) -> Path:
        return self.path / "ready.json"

    def topic_path(self, topic: str) -> Path:
        """The directory of the one partition of `topic`."""
        return topic_path(self.path, topic)

    @classmethod
    def open(cls, path: Path, files: Files | None = None, boot: str | None = None) -> DataDirectory:
        """Create the directory if there is none, lock it, and mark it as running.

        `boot` names the machine's boot; None asks the machine.

        Raises:
            DataDirectoryInUse: another process has it.
            UnsupportedFormat: another version of Binwire wrote it, or it holds something else.
            StorageError: it cannot be created or written.
        """
        files = files or Files()
        path = path.absolute()
        boot = boot_id() if boot is None else boot
        try:
            _check_format(path)
            files.make_directory(path)
            lock = _take_lock(path)
        except OSError as error:
            raise StorageError(
                f"the data directory {path} cannot be used ({error.strerror}); "
                f"name a directory that this user may create and write"
            ) from error
        try:
            return cls._open_locked(path, lock, files, boot)
        except OSError as error:
            os.close(lock)
            raise StorageError(f"the data directory {path} cannot be written ({error.strerror})") from error
        except StorageError:
            os.close(lock)
            raise

    @classmethod
    def _open_locked(cls, path: Path, lock: int, files: Files, boot: str) -> DataDirectory:
        if not (path / "format").exists():
            files.replace_durably(path / "format", f"{FORMAT_VERSION}\n".encode())
        running = path / "running"
        crashed = running.exists()
        boot_changed = crashed and (not boot or running.read_text(errors="replace").strip() != boot)
        (path / "ready.json").unlink(missing_ok=True)
        files.make_directory(path / "topics")
        files.replace_durably(running, f"{boot}\n".encode())
        return cls(path, lock, files, crashed=crashed, boot_changed=boot_changed)

    def write_ready(self, ready: Mapping[str, object]) -> None:
        """Publish `ready` (JSON) in one step: a reader sees all of it or none."""
        temporary = self.path / "ready.json.tmp"
        temporary.unlink(missing_ok=True)
        temporary.touch(mode=FILE_MODE)
        temporary.write_text(json.dumps(ready) + "\n")
        temporary.replace(self.ready_path)

    def close(self, *, orderly: bool) -> None:
        """Give the directory back; `orderly` only if every log and the catalog in it closed without an error."""
        self.ready_path.unlink(missing_ok=True)
        if orderly:
            (self.path / "running").unlink(missing_ok=True)
            self._files.sync_directory(self.path)
        os.close(self._lock)


def _take_lock(path: Path) -> int:
    descriptor = os.open(path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, FILE_MODE)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise DataDirectoryInUse(
            f"the data directory {path} is in use by another process; stop that one or name another directory"
        ) from None
    path.chmod(DIRECTORY_MODE)
    return descriptor


def _check_format(path: Path) -> None:
    """Refuse a directory that is not ours before anything in it is touched."""
    marker = path / "format"
    if marker.exists():
        found = marker.read_text(errors="replace").strip()
        if found != str(FORMAT_VERSION):
            raise UnsupportedFormat(
                f"the data directory {path} has format {found[:20]!r} and this version of Binwire reads format "
                f"{FORMAT_VERSION}; use the version that wrote it, or name another directory"
            )
        return
    # A crash between the lock and the format leaves only these; anything more is somebody's own directory.
    strangers = sorted({entry.name for entry in path.iterdir()} - {"lock", "format.tmp"}) if path.exists() else []
    if strangers:
        raise UnsupportedFormat(
            f"the directory {path} holds other files ({strangers[0]}) and no Binwire data; name an empty directory"
        )
