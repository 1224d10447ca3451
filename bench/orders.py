"""The table all benchmarks write and read: orders of a shop, eleven columns of the common types.

Rows are made from their number alone, so that every run, and every side of a run, has the same ones.
"""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any, Final

DATABASE: Final = "shop"
TABLE: Final = "shop.orders"
CREATE_TABLE: Final = (
    "CREATE TABLE orders (id BIGINT UNSIGNED NOT NULL, customer_id INT NOT NULL, status TINYINT NOT NULL, "
    "quantity INT NOT NULL, amount DECIMAL(12,2) NOT NULL, currency VARCHAR(3) NOT NULL, title VARCHAR(120) NOT NULL, "
    "note TEXT, coupon VARCHAR(20), placed_at DATETIME NOT NULL, paid_at TIMESTAMP NULL DEFAULT NULL, "
    "PRIMARY KEY (id)) DEFAULT CHARACTER SET utf8mb4"
)

PRIMARY_KEY: Final = "id"
FIRST_ID: Final = 10_000_000
COLUMN_TYPE_NUMBERS: Final = {
    "id": 8,
    "customer_id": 3,
    "status": 1,
    "quantity": 3,
    "amount": 246,
    "currency": 253,
    "title": 253,
    "note": 15,
    "coupon": 253,
    "placed_at": 12,
    "paid_at": 7,
}
"""The number by which a DTS record names each column's type."""

_FIRST_SECOND: Final = dt.datetime(2024, 3, 1, 9, 15)  # noqa: DTZ001 — DATETIME has no zone
_TITLES: Final = ("龙井茶 250g", "青花瓷杯", "Bluetooth speaker", "手工竹扇", "Pfälzer Riesling")


def order(number: int) -> dict[str, Any]:
    """Row `number`, as it is inserted."""
    return {
        "id": FIRST_ID + number,
        "customer_id": number * 7919 % 100_000,
        "status": 0,
        "quantity": 1 + number % 9,
        "amount": Decimal(number * 104_729 % 10_000_000) / 100,
        "currency": "CNY",
        "title": _TITLES[number % len(_TITLES)],
        "note": None if number % 3 else f"leave at the door {number}",
        "coupon": None if number % 5 else "WELCOME5",
        "placed_at": _FIRST_SECOND + dt.timedelta(seconds=number % 86_400),
        "paid_at": None,
    }


def paid(row: dict[str, Any]) -> dict[str, Any]:
    """The same order after it was paid: two columns differ."""
    return {**row, "status": 1, "paid_at": (row["placed_at"] + dt.timedelta(minutes=5)).replace(tzinfo=dt.UTC)}
