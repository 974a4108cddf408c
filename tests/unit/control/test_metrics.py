"""The metrics page, read back by the library's own parser."""

from prometheus_client.parser import text_string_to_metric_families

from pycarpd.control.metrics import Metrics, make_registry, render
from pycarpd.control.status import Status


def samples(status: Status, metrics: Metrics) -> dict[tuple[str, str], float]:
    text = render(make_registry(lambda: status, lambda: metrics)).decode()
    return {
        (sample.name, ",".join(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_status_and_counters_are_exposed(healthy: Status) -> None:
    found = samples(healthy, Metrics(adverts_sent=12, adverts_received=24, adverts_rejected={"bad_digest": 3}))
    assert found["pycarpd_role", "BACKUP"] == 1
    assert found["pycarpd_role", "MASTER"] == 0
    assert found["pycarpd_term", ""] == 7
    assert found["pycarpd_promotable", ""] == 1
    assert found["pycarpd_metadata_version", ""] == 4711
    assert found["pycarpd_member_last_heard_seconds", "meta3"] == 0.095
    assert found["pycarpd_adverts_sent_total", ""] == 12
    assert found["pycarpd_adverts_rejected_total", "bad_digest"] == 3
    assert ("pycarpd_lease_remaining_seconds", "") not in found


def test_lateness_is_a_cumulative_histogram(healthy: Status) -> None:
    metrics = Metrics(lateness_us=((100, 5), (1000, 3), (None, 2)), lateness_sum_us=4_000_000)
    found = samples(healthy, metrics)
    assert found["pycarpd_wake_lateness_seconds_bucket", "0.0001"] == 5
    assert found["pycarpd_wake_lateness_seconds_bucket", "0.001"] == 8
    assert found["pycarpd_wake_lateness_seconds_bucket", "+Inf"] == 10
    assert found["pycarpd_wake_lateness_seconds_count", ""] == 10
    assert found["pycarpd_wake_lateness_seconds_sum", ""] == 4.0
