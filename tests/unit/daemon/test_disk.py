"""The worker's writes: a state is told once it is on disk, tried again until it is, and waits for nothing slow."""

import asyncio
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path

from pycarpd.daemon.disk import Disk
from pycarpd.daemon.identity import VOTES_FILE, read_persistent
from pycarpd.election.model import Persistent

OLD, NEW = Persistent(term=1), Persistent(term=2)
WAIT_S = 20.0


def play(state_dir: Path, body: Callable[[Disk, "asyncio.Queue[Persistent]"], Awaitable[None]]) -> None:
    async def main() -> None:
        written: asyncio.Queue[Persistent] = asyncio.Queue()
        loop = asyncio.get_running_loop()

        def tell(state: Persistent) -> None:
            loop.call_soon_threadsafe(written.put_nowait, state)

        disk = Disk(state_dir, tell)
        async with asyncio.timeout(WAIT_S):
            await body(disk, written)
        disk.close()

    asyncio.run(main())


def test_a_state_is_told_when_it_is_on_disk(tmp_path: Path) -> None:
    async def body(disk: Disk, written: asyncio.Queue[Persistent]) -> None:
        disk.persist(NEW)
        assert await written.get() == NEW
        assert read_persistent(tmp_path) == NEW

    play(tmp_path, body)


def test_a_state_that_the_disk_refuses_is_tried_again(tmp_path: Path) -> None:
    async def body(disk: Disk, written: asyncio.Queue[Persistent]) -> None:
        in_the_way = tmp_path / VOTES_FILE
        in_the_way.mkdir()
        disk.persist(OLD)
        disk.persist(NEW)
        await asyncio.sleep(0.3)
        assert written.empty()
        in_the_way.rmdir()
        assert await written.get() == NEW
        await asyncio.sleep(1.5)
        assert written.empty()
        assert read_persistent(tmp_path) == NEW

    play(tmp_path, body)


def test_a_vote_does_not_wait_for_files_to_be_copied(tmp_path: Path) -> None:
    async def body(disk: Disk, written: asyncio.Queue[Persistent]) -> None:
        is_copied = threading.Event()

        def copy() -> None:
            assert is_copied.wait(WAIT_S)

        disk.copy("preserve files", copy)
        disk.persist(NEW)
        assert await written.get() == NEW
        is_copied.set()

    play(tmp_path, body)
