"""A disk of a few megabytes that a test may fill, make read-only and mend, and a server whose data directory is on it.

A tmpfs in a user and mount namespace of its own: no root is needed where the system lets users have these, and nothing
of it is left when its process ends. Seen from outside it lies under `/proc/<process>/root`.
"""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Self

import pytest

from tests.server_process import ServerProcess
from tests.tools.workplace import CHECKOUT

_FILL_BYTES = 64 * 1024


class SmallDisk:
    """A context manager: inside it the disk is there, empty, at `inside` for processes run by `prefix`."""

    def __init__(self, inside: Path, size_mib: int) -> None:
        inside.mkdir()
        self.inside = inside
        mount = f"mount -t tmpfs -o size={size_mib}m,mode=700 tmpfs '{inside}' && echo mounted && exec cat"
        command = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", mount]
        try:
            self._holder = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
            )
        except FileNotFoundError:
            pytest.skip("no `unshare` here (util-linux), which gives a test a disk of its own")
        assert self._holder.stdout is not None
        if self._holder.stdout.readline() != b"mounted\n":
            _, told = self._holder.communicate()
            pytest.skip(f"no disk of its own for this test: {told.decode(errors='replace').strip()}")

    @property
    def prefix(self) -> tuple[str, ...]:
        """Runs a command where the disk is, as a user whom permissions stop."""
        enter = ("nsenter", "--target", str(self._holder.pid), "--user", "--mount", "--preserve-credentials")
        return (*enter, f"--wd={CHECKOUT}", "--", "setpriv", "--bounding-set=-dac_override,-dac_read_search", "--")

    @property
    def outside(self) -> Path:
        """The disk as this process sees it."""
        return Path(f"/proc/{self._holder.pid}/root{self.inside}")

    def run(self, *command: str) -> str:
        """Run a command where the disk is; what it printed."""
        return subprocess.run([*self.prefix, *command], check=True, capture_output=True, text=True).stdout

    def fill(self) -> None:
        """Leave no byte free."""
        with (self.outside / "ballast").open("ab", buffering=0) as ballast:
            for size in (_FILL_BYTES, 1):
                try:
                    while True:
                        ballast.write(bytes(size))
                except OSError:
                    continue

    def make_room(self) -> None:
        (self.outside / "ballast").unlink()

    def make_read_only(self, folder: str) -> None:
        """Mount a folder of the disk read-only over itself: who has a file of it open may write that, and no other.

        A file system with files open for writing cannot be mounted read-only otherwise.
        """
        path = str(self.inside / folder)
        self.run("mount", "--bind", path, path)
        self.run("mount", "-o", "remount,bind,ro", path)

    def make_writable(self, folder: str) -> None:
        self.run("umount", str(self.inside / folder))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._holder.kill()
        self._holder.communicate()


class ServerOnSmallDisk(ServerProcess):
    """Its data directory is on the disk; its configuration and its log are not."""

    def __init__(self, disk: SmallDisk, folder: Path, configuration: str) -> None:
        super().__init__(folder, configuration)
        self.prefix = disk.prefix
        self.data_directory = disk.outside / "data"
        self._configuration.write_text(f'data_dir = "{disk.inside / "data"}"\n{configuration}', encoding="utf-8")
