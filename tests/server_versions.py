"""What MySQL servers of each version say of themselves, one row each, as far as a capture can see it.

A row holds what its version's server would answer: greeting, authentication, global variables (one that is not there is
unknown to that version, error 1193), and in which words its status statements go. `basis` says where the row comes
from: "source" are the server's own sources and manuals, "documented" the vendor's pages, "assumed" what nothing public
tells and is taken from the MySQL version it is built on.

    sql/sql_acl.cc, sql/auth/sql_authentication.cc   greeting
    sql/sys_vars.cc                                  variables
    sql/sql_yacc.yy                                  statements
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

NATIVE, CACHING_SHA2 = "mysql_native_password", "caching_sha2_password"

_BASE = 0xF7FF  # everything of 5.1 but TLS (0x0800)
_PLUGIN_AUTH = 0x0008_0000

UUID = "3e11fa47-71ca-11e1-9e33-c80aa9429562"


@dataclass(frozen=True)
class ServerVersion:
    """One version. `greeting` is what the handshake says where that is not `@@version`."""

    name: str
    version: str
    capabilities: int
    variables: Mapping[str, str]
    plugin: str = NATIVE
    charset: int = 8
    greeting: str | None = None
    has_heartbeats: bool = True
    status_statement: str = "SHOW MASTER STATUS"
    unknown_statements: tuple[str, ...] = ("SHOW BINARY LOG STATUS", "SHOW REPLICA STATUS", "SHOW REPLICAS")
    basis: str = "source"

    @property
    def is_mariadb(self) -> bool:
        return "MariaDB" in self.version

    @property
    def scheme(self) -> str:
        """How its address begins."""
        if self.is_mariadb:
            return "mariadb"
        return "polardb" if "polardb_version" in self.variables else "mysql"

    @property
    def has_gtids(self) -> bool:
        return "gtid_mode" in self.variables

    @property
    def has_atomic_ddl(self) -> bool:
        """MySQL 8.0+, which looks for the database first."""
        return "binlog_encryption" in self.variables

    def with_variables(self, **variables: str) -> ServerVersion:
        return replace(self, variables={**self.variables, **variables})


_V51 = {
    "binlog_format": "ROW",
    "collation_server": "latin1_swedish_ci",
    "expire_logs_days": "0",
    "log_bin": "ON",
    "log_slave_updates": "OFF",
    "lower_case_table_names": "0",
    "read_only": "OFF",
    "server_id": "1",
    "sql_mode": "",
    "time_zone": "SYSTEM",
}
_V55 = {**_V51, "binlog_direct_non_transactional_updates": "OFF"}
_V56 = {
    **_V55,
    "binlog_checksum": "CRC32",
    "binlog_row_image": "FULL",
    "enforce_gtid_consistency": "OFF",
    "explicit_defaults_for_timestamp": "OFF",
    "gtid_mode": "OFF",
    "log_bin_use_v1_row_events": "OFF",
    "server_uuid": UUID,
}
_V57 = {**_V56, "super_read_only": "OFF", "gtid_mode": "ON", "enforce_gtid_consistency": "ON"}
_V80 = {
    **_V57,
    "binlog_expire_logs_seconds": "2592000",
    "binlog_row_metadata": "MINIMAL",
    "binlog_row_value_options": "",
    "binlog_transaction_compression": "OFF",
    "binlog_encryption": "OFF",
    "collation_server": "utf8mb4_0900_ai_ci",
    "explicit_defaults_for_timestamp": "ON",
    "partial_revokes": "OFF",
}
_V84 = {name: value for name, value in _V80.items() if name not in {"expire_logs_days", "log_bin_use_v1_row_events"}}
_V84 |= {"log_replica_updates": "ON"}
_MARIADB_55 = {**_V55, "binlog_checksum": "NONE"}
_MARIADB_10 = {
    **_MARIADB_55,
    "gtid_domain_id": "0",
    "gtid_strict_mode": "OFF",
    "explicit_defaults_for_timestamp": "OFF",
}
_MARIADB_105 = {
    **_MARIADB_10,
    "binlog_row_image": "FULL",
    "binlog_row_metadata": "NO_LOG",
    "encrypt_binlog": "OFF",
    "log_bin_compress": "OFF",
    "collation_server": "utf8mb4_general_ci",
    "binlog_checksum": "CRC32",
}
_MARIADB_1011 = {
    **_MARIADB_105,
    "explicit_defaults_for_timestamp": "ON",
    "binlog_alter_two_phase": "OFF",
    "binlog_expire_logs_seconds": "0",
}
_MARIADB_114 = {
    **_MARIADB_1011,
    "collation_server": "utf8mb4_uca1400_ai_ci",
}
_MARIADB_CAPABILITIES = 0x81FF_F7FE  # bit 0 clear: extended capabilities stand where MySQL has zeros

_OLD, _NEW = "SHOW MASTER STATUS", "SHOW BINARY LOG STATUS"
_REPLICA_WORDS = ("SHOW REPLICA STATUS", "SHOW REPLICAS")
_GONE_IN_84 = (_OLD, "SHOW SLAVE STATUS", "SHOW SLAVE HOSTS")

VERSIONS = {
    row.name: row
    for row in (
        ServerVersion("mysql-5.1", "5.1.73-log", _BASE, _V51, plugin="", has_heartbeats=False),
        ServerVersion("mysql-5.5", "5.5.62-log", 0x000F_0000 | _BASE, _V55),
        ServerVersion("mysql-5.6", "5.6.51-log", 0x007F_0000 | _BASE, _V56),
        ServerVersion("mysql-5.7", "5.7.44-log", 0x01FF_0000 | _BASE, _V57),
        ServerVersion("mysql-8.0", "8.0.46", 0x01FF_0000 | _BASE, _V80, CACHING_SHA2, 255, unknown_statements=(_NEW,)),
        ServerVersion(
            "mysql-8.4",
            "8.4.6",
            0x01FF_0000 | _BASE,
            _V84,
            CACHING_SHA2,
            255,
            status_statement=_NEW,
            unknown_statements=_GONE_IN_84,
        ),
        ServerVersion(
            "mysql-9.6",
            "9.6.0",
            0x01FF_0000 | _BASE,
            _V84,
            CACHING_SHA2,
            255,
            status_statement=_NEW,
            unknown_statements=_GONE_IN_84,
        ),
        ServerVersion("mariadb-5.5", "5.5.68-MariaDB-log", 0x000F_0000 | _BASE, _MARIADB_55),
        ServerVersion(
            "mariadb-10.0",
            "10.0.38-MariaDB-log",
            _MARIADB_CAPABILITIES,
            _MARIADB_10,
            greeting="5.5.5-10.0.38-MariaDB-log",
        ),
        ServerVersion(
            "mariadb-10.5",
            "10.5.29-MariaDB-log",
            _MARIADB_CAPABILITIES,
            _MARIADB_105,
            charset=45,
            greeting="5.5.5-10.5.29-MariaDB-log",
            unknown_statements=(_NEW, "SHOW REPLICAS"),
        ),
        ServerVersion(
            "mariadb-10.11",
            "10.11.14-MariaDB-log",
            _MARIADB_CAPABILITIES,
            _MARIADB_1011,
            charset=45,
            greeting="5.5.5-10.11.14-MariaDB-log",
            unknown_statements=(_NEW, "SHOW REPLICAS"),
        ),
        ServerVersion(
            "mariadb-11.4",
            "11.4.8-MariaDB-log",
            _MARIADB_CAPABILITIES,
            _MARIADB_114,
            charset=45,
            unknown_statements=(_NEW, "SHOW REPLICAS"),
        ),
        ServerVersion("percona-5.7", "5.7.44-48-log", 0x01FF_0000 | _BASE, _V57),
        ServerVersion(
            "percona-8.0", "8.0.45-36", 0x01FF_0000 | _BASE, _V80, CACHING_SHA2, 255, unknown_statements=(_NEW,)
        ),
        # Version 3 calls itself by the MySQL version it is made of; aurora_version tells it apart (AuroraUserGuide,
        # "Checking version numbers using SQL"). What its handshake differs in is not public: assumed that of MySQL 8.0.
        ServerVersion(
            "aurora-3",
            "8.0.39",
            0x01FF_0000 | _BASE,
            {**_V80, "aurora_version": "3.10.0", "binlog_row_metadata": "MINIMAL"},
            NATIVE,
            255,
            unknown_statements=(_NEW,),
            basis="documented, handshake assumed",
        ),
        # Binlog on is loose_polar_log_bin = ON or ON_WITH_GTID among the console's parameters (loose_ is a my.cnf
        # option's prefix), OFF at first. 8.0.1 is made of MySQL 8.0.13 ("Kernel versions 5.6, 5.7, and 8.0").
        ServerVersion(
            "polardb-8.0.1",
            "8.0.13",
            0x01FF_0000 | _BASE,
            {
                **{name: value for name, value in _V80.items() if name != "binlog_transaction_compression"},
                "polardb_version": "8.0.1.1.49",
                "polar_log_bin": "ON_WITH_GTID",
                "lower_case_table_names": "1",
            },
            NATIVE,
            45,
            unknown_statements=(_NEW, *_REPLICA_WORDS),
            basis="documented, handshake and variables of MySQL 8.0.13 assumed",
        ),
    )
}
assert all(row.capabilities & _PLUGIN_AUTH or not row.plugin for row in VERSIONS.values())
