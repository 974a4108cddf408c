"""A status of a healthy cluster of three, to be varied by the tests."""

import pytest

from pycarpd.control.status import Status

HEALTHY = """
{
  "schema": 1, "time": "2026-01-02T03:04:05Z", "node": "meta2", "role": "BACKUP", "term": 7, "master": "meta1",
  "vhid": 10, "interface": "eth0", "profile": "default", "priority": 190, "demotion": 0,
  "vip": {"addresses": ["192.0.2.100/24"], "held": false, "fence_open": false},
  "lease_remaining_ms": null, "quorum": {"has": true, "heard": 3, "needed": 2},
  "can_split": false, "paused": false, "pause_remaining_s": null,
  "freshness": {"metaid": "5f3a00000000c0de", "version": 4711, "proved_version": 4700, "drill_age_s": 1800,
                "age_ms": 400, "promotable": true, "why_not": null},
  "members": [
    {"name": "meta1", "address": "192.0.2.11", "state": "heard", "role": "MASTER", "term": 7, "priority": 254,
     "last_heard_ms": 120, "freshness": {"metaid": "5f3a00000000c0de", "version": 4713, "age_ms": 0}},
    {"name": "meta2", "address": "192.0.2.12", "state": "self", "role": "BACKUP", "term": 7, "priority": 190,
     "last_heard_ms": 0, "freshness": {"metaid": "5f3a00000000c0de", "version": 4711, "age_ms": 400,
                                       "promotable": true}},
    {"name": "meta3", "address": "192.0.2.13", "state": "heard", "role": "BACKUP", "term": 7, "priority": 126,
     "last_heard_ms": 95, "freshness": {"metaid": "5f3a00000000c0de", "version": 4712, "age_ms": 300,
                                        "promotable": true}}
  ],
  "last_transition": {"time": "2026-01-02T03:00:00Z", "term": 7, "from": "INIT", "to": "BACKUP",
                      "cause": "started", "phases": {}, "operations_lost": null},
  "lateness": {"wakes": 1000, "p50_us": 60, "p99_us": 300, "max_us": 900}, "reports": []
}
"""


@pytest.fixture
def healthy() -> Status:
    return Status.model_validate_json(HEALTHY)
