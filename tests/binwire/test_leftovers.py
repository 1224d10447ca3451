"""What fixtures leave that were killed with everybody who could have cleaned up."""

from __future__ import annotations

import os
import threading
from pathlib import Path

from broker.fixture.leftovers import NEW_S, PREFIX, remove_leftovers
from storage.directory import DataDirectory


def make(folder: Path, name: str, *, is_old: bool = True) -> Path:
    """A folder with a file, as a fixture has them."""
    path = folder / name
    (path / "data").mkdir(parents=True)
    (path / "data" / "catalog.db").touch()
    if is_old:
        age(path)
    return path


def age(path: Path) -> None:
    long_ago_s = path.stat().st_mtime - 2 * NEW_S
    os.utime(path, (long_ago_s, long_ago_s))


def test_only_what_nobody_has_any_more_is_deleted(tmp_path):
    killed, unfinished = make(tmp_path, f"{PREFIX}killed"), make(tmp_path, f"{PREFIX}unfinished")
    (killed / "data" / "lock").touch()
    others = [make(tmp_path, "binwire-other"), make(tmp_path, f"{PREFIX}new", is_old=False)]
    others.append(make(tmp_path, f"{PREFIX}of-somebody-who-names-his-so"))
    (others[-1] / "notes.txt").touch()
    age(others[-1])
    link = tmp_path / f"{PREFIX}link"
    link.symlink_to(others[0])
    os.utime(link, (0, 0), follow_symlinks=False)
    served = tmp_path / f"{PREFIX}served"
    directory = DataDirectory.open(served / "data")
    age(served)
    remove_leftovers(tmp_path)
    assert not killed.exists()
    assert not unfinished.exists()
    assert all((path / "data" / "catalog.db").exists() for path in (*others, link))
    directory.close(orderly=True)
    remove_leftovers(tmp_path)
    assert not served.exists()


def test_two_at_once_do_no_harm(tmp_path):
    for number in range(20):
        make(tmp_path, f"{PREFIX}{number}")
    threads = [threading.Thread(target=remove_leftovers, args=(tmp_path,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    remove_leftovers(tmp_path)
    assert list(tmp_path.iterdir()) == []
