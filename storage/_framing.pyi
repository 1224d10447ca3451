from collections.abc import Sequence

SOURCES: str

def frame(values: Sequence[bytes], timestamps_ms: Sequence[int], /) -> tuple[bytes, int]: ...
