"""Which server's dialect of SQL, names and defaults is meant: flavour and version, read from `@@version`."""

import re
from functools import lru_cache

from msgspec import Struct


class Dialect(Struct, frozen=True):
    """The server whose statements are read: `flavour` is `"mysql"` or `"mariadb"`."""

    flavour: str
    version: tuple[int, int, int]

    @classmethod
    @lru_cache(maxsize=64)
    def of(cls, version: str) -> "Dialect":
        """Read `@@version` (`8.0.34`, `5.6.47-log`, `10.11.6-MariaDB-0+deb12u1`, `5.5.5-10.1.2-MariaDB`)."""
        is_mariadb = "mariadb" in version.lower()
        text = version.removeprefix("5.5.5-") if is_mariadb else version
        numbers = [int(number) for number in re.findall(r"\d+", text.split("-")[0])[:3]]
        major, minor, patch = [*numbers, 0, 0, 0][:3]
        return cls("mariadb" if is_mariadb else "mysql", (major, minor, patch))

    @property
    def is_mariadb(self) -> bool:
        return self.flavour == "mariadb"

    @property
    def number(self) -> int:
        """The version as executable comments write it: 50624, 80034, 101106."""
        major, minor, patch = self.version
        return major * 10000 + minor * 100 + patch

    @property
    def explicit_defaults_for_timestamp(self) -> bool:
        """The variable's default. Before MySQL 5.6.6 and MariaDB 10.1.8 there is none, and servers do as with OFF."""
        return self.version >= _EXPLICIT_DEFAULTS_SINCE[self.flavour]


_EXPLICIT_DEFAULTS_SINCE = {"mysql": (8, 0, 2), "mariadb": (10, 10, 0)}

MYSQL_NEWEST = Dialect("mysql", (9, 7, 0))
