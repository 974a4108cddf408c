"""A bug of ours in the worker ends the worker, wherever it shows.

Threads and callbacks of the event loop lose what is raised in them, and a worker that goes on without its patient's
thread would call a host promotable for ever. A worker that ends is a case that everybody knows: the heartbeat resigns,
and the supervisor starts both anew.
"""

import asyncio
import logging
import os
import threading
from concurrent.futures import Future
from typing import Any

logger = logging.getLogger(__name__)

EXIT_STATUS = 70
"""EX_SOFTWARE of sysexits.h."""


def end_on_bugs(loop: asyncio.AbstractEventLoop) -> None:
    """End the process when something is raised in a thread or in a callback of the loop.

    OSError in a callback is the system's fault (no descriptors left to accept with) and is only logged.
    """
    threading.excepthook = _in_thread
    loop.set_exception_handler(_in_loop)


def end_if_raised(work: "Future[None] | asyncio.Future[None]") -> None:
    """End the process if the work of an executor, done now, has raised."""
    error = work.exception()
    if error is not None:
        _end(error)


def _in_thread(raised: threading.ExceptHookArgs) -> None:
    if raised.exc_value is not None:
        _end(raised.exc_value)


def _in_loop(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    error = context.get("exception")
    if error is None or isinstance(error, OSError):
        loop.default_exception_handler(context)
    else:
        _end(error)


def _end(error: BaseException) -> None:
    logger.critical("a bug, this process ends", exc_info=error)
    logging.shutdown()
    os._exit(EXIT_STATUS)
