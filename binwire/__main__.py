"""`python -m binwire` and the `binwire` command: find the server's code and run its command line.

In a wheel the server packages lie in `binwire/_server/`, in a checkout beside this package. Whichever it is goes first
on the path of this process and of no other, so that a user's own packages named `broker`, `capture` or `storage` never
meet ours: in this process ours win, in every other one ours are not to be seen. The current folder, which `python -m`
puts on the path, is taken off it: a user's `select.py` is none of the server's business.
"""

from __future__ import annotations

import sys

if __name__ == "__main__" and not sys.flags.safe_path:
    del sys.path[0]

from pathlib import Path


def server_root() -> Path:
    """The folder that holds the packages `broker`, `capture` and `storage`."""
    package = Path(__file__).resolve().parent
    bundled = package / "_server"
    return bundled if bundled.is_dir() else package.parent


def main() -> int:
    """Run the command line; the result is the exit status."""
    sys.path.insert(0, str(server_root()))
    front_door = str(Path(__file__).resolve().parent.parent)
    if front_door not in sys.path:
        sys.path.append(front_door)
    from broker.cli import main as run

    return run(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
