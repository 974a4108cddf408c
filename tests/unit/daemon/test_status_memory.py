"""What a heartbeat tells four times a second leaves next to no memory behind; no collector runs there."""

import gc
import tracemalloc

from pycarpd.daemon import news
from pycarpd.daemon.channel import encode
from tests.unit.election.bench import in_backup

OFTEN = 200
LEFT_BYTES_MAX = 160
"""Of each: the interpreter keeps up to two thousand small tuples of each length to use them again, and no more."""


def test_a_status_is_told_and_forgotten() -> None:
    bench = in_backup()
    settings = bench.elector._node.settings

    def tell() -> None:
        told = news.status_news(
            bench.elector.snapshot(bench.now),
            settings,
            bench.now,
            vip_held=False,
            fence_open=None,
            degradations=(),
            counters=(("accepted", 1),),
            lateness_us=(1, 2),
            adverts_sent=1,
            messages_dropped=0,
        )
        encode(told)

    tell()
    gc.collect()
    gc.disable()
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        for _ in range(OFTEN):
            tell()
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
        gc.enable()
    assert after - before < OFTEN * LEFT_BYTES_MAX
