"""The metrics page: the daemon's plain counters and its status in Prometheus' text format.

The heartbeat counts in plain integers and hands them to the worker now and then; nothing here is called in its
path. The collector has a registry of its own, so that two in one process (tests) do not meet.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
    StateSetMetricFamily,
)
from prometheus_client.registry import Collector

from pycarpd.control.status import DrillStatus, Status
from pycarpd.election.model import Role

MS_PER_S = 1000
US_PER_S = 1_000_000


@dataclass(frozen=True, slots=True)
class Metrics:
    """The counters of the daemon since its start.

    ``lateness_us`` holds (upper bound in microseconds, wake-ups within it but not within the bound before), the
    last bound None for all that were later; ``lateness_sum_us`` is the sum over all wake-ups.
    """

    adverts_sent: int = 0
    adverts_received: int = 0
    adverts_rejected: dict[str, int] = field(default_factory=dict)
    receive_overflows: int = 0
    send_failures: int = 0
    promotions: int = 0
    promotions_failed: int = 0
    lateness_us: tuple[tuple[int | None, int], ...] = ()
    lateness_sum_us: int = 0


class _PageCollector(Collector):
    def __init__(self, status: Callable[[], Status], metrics: Callable[[], Metrics]) -> None:
        self._status = status
        self._metrics = metrics

    def describe(self) -> Iterator[Metric]:
        """Name nothing in advance: the values exist only while a daemon answers."""
        yield from ()

    def collect(self) -> Iterator[Metric]:
        """Yield every family from one snapshot of status and counters."""
        status = self._status()
        yield from _role_families(status)
        yield from _gauges(status)
        yield from _member_families(status)
        yield from _counters(self._metrics())


def make_registry(status: Callable[[], Status], metrics: Callable[[], Metrics]) -> CollectorRegistry:
    """Return a registry whose page is made from *status* and *metrics* each time it is read."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_PageCollector(status, metrics))
    return registry


def render(registry: CollectorRegistry) -> bytes:
    """Return the page in Prometheus' text format 0.0.4."""
    return generate_latest(registry)


def _role_families(status: Status) -> Iterator[Metric]:
    roles = {role.name: role.name == status.role for role in Role}
    yield StateSetMetricFamily("pycarpd_role", "This node's role", value=roles)


def _gauges(status: Status) -> Iterator[Metric]:
    lease_ms = status.lease_remaining_ms
    figures: list[tuple[str, str, float | None]] = [
        ("pycarpd_term", "Newest term this node knows", status.term),
        ("pycarpd_master_known", "1 when a master is known", status.master is not None),
        ("pycarpd_serving", "1 when this node serves behind the VIP", status.serves),
        ("pycarpd_vip_held", "1 when the VIP is on this node", status.vip.held),
        ("pycarpd_fence_open", "1 when the fence lets VIP traffic through", status.vip.fence_open),
        ("pycarpd_quorum", "1 when a majority is in reach", status.quorum.has),
        ("pycarpd_can_split", "1 without an arbiter", status.can_split),
        ("pycarpd_paused", "1 while automatic takeover is paused", status.paused),
        ("pycarpd_demotion", "Demotion counter", status.demotion),
        ("pycarpd_lease_remaining_seconds", "What is left of the lease", _seconds(lease_ms)),
        ("pycarpd_metadata_version", "Metadata version of this host", status.freshness.version),
        ("pycarpd_metadata_proved_version", "Version a drill has proved", status.freshness.proved_version),
        ("pycarpd_drill_age_seconds", "Age of the last drill", status.freshness.drill_age_s),
        ("pycarpd_drill_failed", "1 when the last drill failed", _drill(status, "failed")),
        ("pycarpd_drill_skipped", "1 when the last drill was not tried", _drill(status, "skipped")),
        ("pycarpd_drill_duration_seconds", "How long a drill took", _seconds(_drilled(status).duration_ms)),
        ("pycarpd_drill_memory_bytes", "What mfsmaster took at most in a drill", _drilled(status).memory_bytes),
        ("pycarpd_promotable", "1 when this host could take over now", status.freshness.promotable),
        ("pycarpd_reports", "Reports of degradation now", len(status.reports)),
    ]
    for name, text, value in figures:
        if value is not None:
            yield GaugeMetricFamily(name, text, value=float(value))


def _drilled(status: Status) -> DrillStatus:
    return status.drill or DrillStatus(interval_s=0)


def _drill(status: Status, outcome: str) -> float | None:
    return None if status.drill is None else float(status.drill.outcome == outcome)


def _seconds(milliseconds: int | None) -> float | None:
    return None if milliseconds is None else milliseconds / MS_PER_S


def _member_families(status: Status) -> Iterator[Metric]:
    heard = GaugeMetricFamily("pycarpd_member_last_heard_seconds", "Since a member was heard", labels=["member"])
    version = GaugeMetricFamily("pycarpd_member_metadata_version", "A member's version", labels=["member"])
    promotable = GaugeMetricFamily("pycarpd_member_promotable", "1 when it could take over", labels=["member"])
    for member in status.members:
        if member.last_heard_ms is not None:
            heard.add_metric([member.name], member.last_heard_ms / MS_PER_S)
        if member.freshness.version is not None:
            version.add_metric([member.name], member.freshness.version)
        promotable.add_metric([member.name], float(member.freshness.promotable))
    yield from (heard, version, promotable)


def _counters(metrics: Metrics) -> Iterator[Metric]:
    yield CounterMetricFamily("pycarpd_adverts_sent", "Adverts sent", value=metrics.adverts_sent)
    yield CounterMetricFamily("pycarpd_adverts_received", "Adverts received", value=metrics.adverts_received)
    rejected = CounterMetricFamily("pycarpd_adverts_rejected", "Datagrams refused, by verdict", labels=["reason"])
    for reason, count in metrics.adverts_rejected.items():
        rejected.add_metric([reason], count)
    yield rejected
    yield CounterMetricFamily("pycarpd_receive_overflows", "Datagrams lost", value=metrics.receive_overflows)
    yield CounterMetricFamily("pycarpd_send_failures", "Adverts not sent", value=metrics.send_failures)
    yield CounterMetricFamily("pycarpd_promotions", "Promotions begun", value=metrics.promotions)
    yield CounterMetricFamily("pycarpd_promotions_failed", "Promotions undone", value=metrics.promotions_failed)
    if metrics.lateness_us:
        yield _lateness(metrics)


def _lateness(metrics: Metrics) -> Metric:
    buckets: list[tuple[str, float]] = []
    total = 0
    for bound_us, count in metrics.lateness_us:
        total += count
        if bound_us is not None:
            buckets.append((str(bound_us / US_PER_S), total))
    buckets.append(("+Inf", total))
    name, text = "pycarpd_wake_lateness_seconds", "How late the heartbeat woke up"
    return HistogramMetricFamily(name, text, buckets=buckets, sum_value=metrics.lateness_sum_us / US_PER_S)
