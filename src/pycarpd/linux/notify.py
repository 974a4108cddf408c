"""The service manager's notification socket (sd_notify(3)), without its library."""

import os
import socket

from pycarpd.linux.faults import SystemFault


def sd_notify(text: str) -> SystemFault | None:
    """Send *text* (lines such as READY=1, STATUS=..., STOPPING=1, WATCHDOG=1) to the service manager.

    Does nothing where there is none (no NOTIFY_SOCKET). Never waits; a message that found no room is a fault.
    """
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return None
    if address.startswith("@"):
        address = "\0" + address[1:]
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK) as channel:
            channel.sendto(text.encode(), address)
    except OSError as error:
        return SystemFault.of("notify the service manager", error)
    return None
