"""What a worker does when the heartbeat is gone without a goodbye: nobody renews the right to serve any more."""

import logging

from pycarpd.daemon.host import Host
from pycarpd.linux.address import remove_address
from pycarpd.settings import DaemonSettings

logger = logging.getLogger(__name__)

EMERGENCY_KILL_TIMEOUT_S = 20.0


def stop_serving(host: Host, settings: DaemonSettings) -> None:
    """Kill mfsmaster and take the virtual addresses away, for a heartbeat that cannot do it any more."""
    fault = host.mfsmaster.kill_tree(EMERGENCY_KILL_TIMEOUT_S)
    if fault is not None:
        logger.critical("mfsmaster could not be killed code=%s detail=%s", fault.code.value, fault.detail)
    for cidr in settings.virtual_addresses:
        removal = remove_address(settings.interface, cidr)
        if removal is not None:
            logger.error("cannot remove virtual address cidr=%s fault=%s", cidr, removal)
