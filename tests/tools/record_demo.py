"""Record the binlog that `binwire demo` replays: tests/scenarios/demo_shop.sql, run on a real MySQL 9.7.

    python -m tests.tools.record_demo

writes broker/data/demo-shop.000001. It takes about a minute: the pauses of the scenario are waited for, so that every
time in the file (event headers, commit timestamps, NOW()) is the server's own. Recording again gives the same changes
with another server UUID and other times.
"""

from __future__ import annotations

import shutil
import sys
import time
from pathlib import Path

import pymysql

from tests.tools.servers import ROOT_PASSWORD, ROOT_USER, Instance
from tests.tools.workplace import say

CHECKOUT = Path(__file__).resolve().parents[2]
SCENARIO = CHECKOUT / "tests" / "scenarios" / "demo_shop.sql"
RECORDED = CHECKOUT / "broker" / "data" / "demo-shop.000001"


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
    """Run the statements, one a line, with the scenario's pauses."""
    for line in text.splitlines():
        if line.startswith("-- +"):
            time.sleep(float(line[4:]))
        elif line and not line.startswith("--"):
            cursor.execute(line)


if __name__ == "__main__":
    sys.exit(main())
