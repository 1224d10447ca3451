"""What the accelerator does for one column: a kind of value, sizes, and constant bytes of the cell.

The rows stand beside the generated code of the same column (`CellCode.operation`), and `capture/_rows.c` interprets
them. A column without a row is read by its generated code, called for each cell; both ways make the same bytes.
"""

from __future__ import annotations

from typing import NamedTuple


class Operation(NamedTuple):
    """Bytes in, a cell out. All of a cell that is constant is in `start` and `end`, as Latin-1 text.

    kind       size               detail        reads
    integer    bytes              1 if signed   a number; the cell has its decimal digits
    counted    bytes of a length                the length, and as many bytes
    padded     bytes of a length  bytes         the same; the cell has zeros behind them up to `detail`
    copied     bytes                            these bytes
    label      bytes                            a number, whose cell stands in the tuple `cells`
    decimal    precision          scale         groups of nine digits
    datetime   fsp                              DATETIME2
    timestamp  fsp                              seconds, and a fraction (big endian)
    time       fsp                              TIME2
    date                                        DATE
    mapped     bytes                            a number, whose cell the mapping `cells` makes, as text
    called                                      whatever the function `cells` of (data, text, position) does

    Numbers are little endian unless `big_endian`. `fsp` is the number of digits of fractional seconds.
    """

    kind: str
    size: int = 0
    detail: int = 0
    start: str = ""
    end: str = ""
    big_endian: bool = False
    cells: object = None
