"""SQL text of a Query event to statements (`capture/statements.py`)."""

from capture.sql import Dialect
from capture.statements import Statement


def parse(sql: str, sql_mode: int = 0, dialect: Dialect | None = None) -> list[Statement]:
    """Parse the statements of one Query event (nearly always one). Never raises: what is not understood is Unknown."""
    raise NotImplementedError
