"""A Chromium for tests of pages: the installed one, else Debian's, unpacked privately into ``.clients/chromium``.

The private one takes the C library and the loader of the machine (Chromium looks for its data beside
``/proc/self/exe``, which would be the set's loader), and everything else from the set: the machine's C library must
be that of the set's suite or younger. Fonts are the set's own, among them one for Chinese and one for emoji, so that
no page is looked at in boxes.

``python -m tests.tools.chromium install`` has it ready; ``… record`` renews the set's lock file.
"""

from __future__ import annotations

import argparse
import functools
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.tools import debian
from tests.tools.debian import PackageSet
from tests.tools.workplace import CLIENTS_DIRECTORY, ToolError, installed_once, run_quietly, say

# Chromium without a window is a package of its own, 60 MB where the whole closure of the other has 235: its libraries
# are named here, because chromium-common would bring a desktop.
CHROMIUM_PACKAGES = PackageSet(
    "chromium",
    "bookworm",
    (
        *("libasound2", "libatk1.0-0", "libatspi2.0-0", "libdav1d6", "libdbus-1-3", "libdouble-conversion3"),
        *("libexpat1", "libflac12", "libfontconfig1", "libfreetype6", "libgbm1", "libglib2.0-0", "libharfbuzz-subset0"),
        *("libharfbuzz0b", "libjpeg62-turbo", "liblcms2-2", "libminizip1", "libnss3", "libopenh264-7", "libopenjp2-7"),
        *("libopus0", "libpulse0", "libudev1", "libxcomposite1", "libxdamage1", "libxext6", "libxfixes3"),
        *("libxkbcommon0", "libxnvctrl0", "libxrandr2", "libjsoncpp25", "libevent-2.1-7", "libwoff1"),
        *("fonts-dejavu-core", "fonts-wqy-microhei", "fonts-noto-color-emoji"),
    ),
    alone=("chromium-headless-shell", "chromium-common"),
)

_INSTALLED_NAMES = ("chromium", "chromium-browser", "google-chrome")
_ADDRESS_VARIABLE = "BINWIRE_TEST_CHROMIUM"
_VERSION_TIMEOUT_S = 60
# Of Debian's libc6: another C library than the one that the machine's loader belongs to does not run.
_C_LIBRARY = re.compile(
    r"ld-linux|lib(c|m|mvec|dl|pthread|rt|resolv|util|anl|nsl|BrokenLocale|thread_db|c_malloc_debug|memusage|pcprofile)"
    r"\.so|libnss_"
)
_FONTS = """\
<?xml version="1.0"?>
<fontconfig>
  <dir>{fonts}</dir>
  <cachedir>{cache}</cachedir>
{preferences}
</fontconfig>
"""
_PREFERRED_FONTS = {
    "sans-serif": ("DejaVu Sans", "WenQuanYi Micro Hei", "Noto Color Emoji"),
    "serif": ("DejaVu Serif", "WenQuanYi Micro Hei", "Noto Color Emoji"),
    "monospace": ("DejaVu Sans Mono", "WenQuanYi Micro Hei Mono", "Noto Color Emoji"),
}


@dataclass(frozen=True, slots=True)
class Chromium:
    """A program that can be started, with what it wants in its environment."""

    program: Path
    environment: dict[str, str]
    is_sandboxed: bool
    """False as root, whom Chromium refuses its sandbox, and where no user namespace can be had."""


@functools.cache
def chromium() -> Chromium:
    """The Chromium of this machine, named by BINWIRE_TEST_CHROMIUM or installed, else the private one.

    Raises ToolError when there is none.
    """
    named = os.environ.get(_ADDRESS_VARIABLE) or next(filter(None, map(shutil.which, _INSTALLED_NAMES)), None)
    found = _private() if named is None else Chromium(Path(named), {}, _can_be_sandboxed())
    version = run_quietly(
        [str(found.program), "--version"], env={**os.environ, **found.environment}, timeout_s=_VERSION_TIMEOUT_S
    )
    if version.returncode:
        detail = (version.stderr.strip() or "no output").splitlines()[-1]
        raise ToolError(f"{found.program.name} does not start here: {detail}")
    return found


def _private() -> Chromium:
    root = debian.unpack(CHROMIUM_PACKAGES, CLIENTS_DIRECTORY / "chromium")
    stamp = (root / ".stamp").read_text(encoding="utf-8")
    beside = installed_once(CLIENTS_DIRECTORY / "chromium-run", stamp, lambda fresh: _fill(root, fresh))
    environment = {
        "LD_LIBRARY_PATH": f"{beside / 'lib'}:{root / 'usr' / 'lib' / 'chromium'}",
        "FONTCONFIG_FILE": str(beside / "fonts.conf"),
    }
    return Chromium(root / "usr" / "lib" / "chromium" / "chromium-headless-shell", environment, _can_be_sandboxed())


def _fill(root: Path, fresh: Path) -> None:
    """Links to all libraries of the set but those of the C library, and what is to be known of its fonts."""
    (fresh / "lib").mkdir()
    for library in sorted(root.glob("usr/lib/*/**/*.so*")):
        if library.parent.name != "gconv" and not _C_LIBRARY.match(library.name):
            link = fresh / "lib" / library.name
            link.unlink(missing_ok=True)
            link.symlink_to(library)
    aliases = [
        f"  <alias><family>{family}</family><prefer>{''.join(f'<family>{f}</family>' for f in fonts)}</prefer></alias>"
        for family, fonts in _PREFERRED_FONTS.items()
    ]
    places = {"fonts": root / "usr" / "share" / "fonts", "cache": root / "font-cache"}
    (fresh / "fonts.conf").write_text(_FONTS.format(**places, preferences="\n".join(aliases)), encoding="utf-8")


def _can_be_sandboxed() -> bool:
    if os.geteuid() == 0 or not shutil.which("unshare"):
        return False
    return run_quietly(["unshare", "--user", "true"]).returncode == 0


def main() -> int:
    """The command line; see the module's docstring."""
    parser = argparse.ArgumentParser(prog="python -m tests.tools.chromium", description=__doc__.splitlines()[0])
    parser.add_argument("command", choices=("install", "record"))
    if parser.parse_args().command == "record":
        say(f"recorded {debian.record(CHROMIUM_PACKAGES)}")
        return 0
    try:
        say(f"{chromium().program.name} is ready")
    except (ToolError, OSError, subprocess.SubprocessError) as error:
        say(f"Chromium cannot be had, tests of pages are skipped: {error}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
