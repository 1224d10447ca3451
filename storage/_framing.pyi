from collections.abc import Callable, Sequence

SOURCES: str

def frame(values: Sequence[bytes], timestamps_ms: Sequence[int], /) -> tuple[bytes, int]: ...
def batch(
    values: Sequence[bytes],
    timestamps_ms: Sequence[int],
    header_bytes: int,
    header: Callable[[memoryview, int], bytes],
    /,
) -> bytes: ...
