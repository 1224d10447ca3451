"""Record the binlog that `binwire demo` replays: tests/scenarios/demo_shop.sql, run on a real MySQL 9.7.

    python -m tests.tools.record_demo

writes broker/data/demo-shop.000001. The scenario's own clock goes into the events (`SET TIMESTAMP`), so recording takes
no longer than the statements do. Recording again gives the same changes with another server UUID and other GTID times.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pymysql

from tests.tools.servers import ROOT_PASSWORD, ROOT_USER, Instance
from tests.tools.workplace import say

CHECKOUT = Path(__file__).resolve().parents[2]
SCENARIO = CHECKOUT / "tests" / "scenarios" / "demo_shop.sql"
RECORDED = CHECKOUT / "broker" / "data" / "demo-shop.000001"
FIRST_SECOND = 1_709_284_500  # 2024-03-01 09:15:00 UTC; the replay moves every time to now


def main() -> int:
    """Record and say where the file is."""
    with Instance.launch("mysql97", ["--log-bin=demo-shop", "--default-time-zone=+00:00"]) as server:
        connection = pymysql.connect(
            host=server.host,
            port=server.port,
            user=ROOT_USER,
            password=ROOT_PASSWORD,
            charset="utf8mb4",
            autocommit=True,
        )
        with connection, connection.cursor() as cursor:
            cursor.execute("RESET BINARY LOGS AND GTIDS")
            run_scenario(cursor, SCENARIO.read_text("utf-8"))
            cursor.execute("FLUSH BINARY LOGS")
        shutil.copyfile(server.data_directory / RECORDED.name, RECORDED)
    RECORDED.chmod(0o644)
    say(f"recorded {RECORDED.relative_to(CHECKOUT)}, {RECORDED.stat().st_size} bytes")
    return 0


def run_scenario(cursor: pymysql.cursors.Cursor, text: str) -> None:
    """Run the statements at the scenario's times; the fraction of a second is made from the line's number."""
    now = FIRST_SECOND
    for number, line in enumerate(text.splitlines()):
        if line.startswith("-- +"):
            now += int(line[4:])
        elif line and not line.startswith("--"):
            cursor.execute(f"SET TIMESTAMP = {now}.{number * 7919 % 1_000_000:06d}")
            cursor.execute(line)


if __name__ == "__main__":
    sys.exit(main())
