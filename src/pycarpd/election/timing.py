"""The election's arithmetic: intervals, skew and the demotion counter, all integer nanoseconds.

Sources: RFC 9568 section 6.1 (Skew_Time, Active_Down_Interval) scaled to millisecond intervals; ucarp for the
header's advskew; the larger of own and peer's interval as VRRPv3 adopts the master's.
"""

NS_PER_MS = 1_000_000
NS_PER_S = 1_000_000_000
DEMOTION_FULL = 240
"""One failed promotion. ucarp and FreeBSD advertise advskew 240 for a node that is ill."""
DEMOTION_MAX = 8 * DEMOTION_FULL
DEMOTION_WEIGHT = 32
"""One full demotion delays a candidate by 30 advert intervals, long enough for every other to have its turn."""
ADVSKEW_MAX = 254
"""255 with advbase 255 is the resignation."""


def skew_ns(interval_ns: int, priority: int, demotion: int) -> int:
    """Return how long a candidate of that priority (1..254) waits beyond the missed adverts."""
    return interval_ns * (256 - priority + demotion * DEMOTION_WEIGHT) // 256


def advskew(priority: int, demotion: int) -> int:
    """Return the CARP header's advskew: smaller is better, 240 and above means ill."""
    if demotion:
        return min(ADVSKEW_MAX, max(DEMOTION_FULL, 254 - priority))
    return 254 - priority


def master_down_interval_ns(own_interval_ns: int, peer_interval_ns: int, missed: int, own_skew_ns: int) -> int:
    """Return how long after its last advert a master is taken for lost by a node with that skew."""
    return missed * max(own_interval_ns, peer_interval_ns) + own_skew_ns


def listening_ns(interval_ns: int, missed: int) -> int:
    """Return how long a suspended master listens: whoever has opened a term has said so in each interval of it.

    Shorter than the master-down interval by more than half an interval, so that a link which was away for a moment
    does not cost a failover; two adverts or more of a successor fall into it with the usual three.
    """
    return max(missed * interval_ns - 3 * interval_ns // 4, 3 * interval_ns // 2)


def decayed_demotion(demotion: int, age_ns: int, half_life_ns: int) -> int:
    """Return what is left of a demotion counter after *age_ns*: halved each half-life, linear in between."""
    if not demotion:
        return 0
    halvings, rest_ns = divmod(max(age_ns, 0), half_life_ns)
    if halvings >= DEMOTION_MAX.bit_length():
        return 0
    at_start = demotion >> halvings
    return at_start - (at_start - (at_start >> 1)) * rest_ns // half_life_ns
