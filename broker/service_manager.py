"""What the service manager is told that started the process, where one asks for it: systemd's sd_notify(3).

One datagram to the socket that `NOTIFY_SOCKET` names; without that variable nothing is done or loaded.
"""

from __future__ import annotations

import logging
import os
from typing import Final

READY: Final = b"READY=1"
STOPPING: Final = b"STOPPING=1"

_log = logging.getLogger("binwire")


def tell(state: bytes) -> None:
    """Tell it; a manager that cannot be reached is no reason not to serve."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    import socket

    if address.startswith("@"):  # a name without a file
        address = f"\0{address[1:]}"
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
            manager.sendto(state, address)
    except OSError as error:
        _log.warning("the service manager cannot be told: %s", error)
