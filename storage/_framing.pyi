from collections.abc import Sequence

SOURCE_CRC: int

def frame(values: Sequence[bytes], timestamps_ms: Sequence[int], /) -> tuple[bytes, int]: ...
