"""Ruby, unpacked privately: for what is checked of programs in it. Its Kafka clients are on RubyGems alone."""

from __future__ import annotations

import shutil

from tests.tools import debian
from tests.tools.debian import PackageSet
from tests.tools.workplace import CLIENTS_DIRECTORY

RUBY_PACKAGES = PackageSet("ruby", "bookworm", ("ruby",))


def command() -> tuple[str, ...]:
    """The command of Ruby without gems: the installed one, else Debian's. Raises ToolError."""
    installed = shutil.which("ruby")
    if installed:
        return (installed, "--disable-gems")
    root = debian.unpack(RUBY_PACKAGES, CLIENTS_DIRECTORY / "ruby")
    return (*debian.program(root, "usr/bin/ruby3.1"), "--disable-gems")
