"""Settings and news for the tests of this folder."""

from pycarpd.daemon.messages import PeerNews, StatusNews
from pycarpd.election.model import Arbiter, Freshness, Member, Role, TieBreak
from pycarpd.election.settings import ElectionSettings
from pycarpd.settings import DaemonSettings

MS = 1_000_000
VIP = "192.0.2.100/24"
NAMES = ("meta1", "meta2", "meta3")
MEMBERS = tuple(Member(n, name, bytes((192, 0, 2, 10 + n))) for n, name in enumerate(NAMES, 1))
FRESH = Freshness(metaid=0xF00D, version=1234)


def election_settings() -> ElectionSettings:
    return ElectionSettings(
        node_id=1,
        members=MEMBERS,
        interval_ns=250 * MS,
        missed_adverts=3,
        priority=250,
        preempt=False,
        arbiter=Arbiter.NONE,
        strict=True,
        tie_break=TieBreak.NUMERIC,
        advbase=1,
        config_digest=7,
    )


def daemon_settings(interface: str = "eth0", own_address: str = "192.0.2.11") -> DaemonSettings:
    return DaemonSettings(
        node_name="meta1",
        state_dir="/nonexistent/state",
        run_dir="/nonexistent/run",
        interface=interface,
        own_address=own_address,
        vhid=10,
        virtual_addresses=(VIP,),
        profile="default",
        realtime=False,
        unicast=False,
        election=election_settings(),
        moosefs=None,
        etcd=None,
        http_host=None,
        http_port=None,
        key_text="ab" * 32,
        ucarp_password=None,
    )


def peer_news(name: str = "meta2", **changes: object) -> PeerNews:
    values: dict[str, object] = {
        "name": name,
        "address": "192.0.2.12",
        "role": Role.BACKUP,
        "term": 4,
        "priority": 240,
        "demotion": 0,
        "is_witness": False,
        "is_promotable": True,
        "is_paused": False,
        "is_proven": True,
        "hears_me": True,
        "heard_ms": 100,
        "freshness": FRESH,
        "has_same_config": True,
    }
    return PeerNews(**(values | changes))  # type: ignore[arg-type]  # each change names a field with its type


def status_news(**changes: object) -> StatusNews:
    values: dict[str, object] = {
        "role": Role.MASTER,
        "term": 4,
        "served_term": 4,
        "master": "meta1",
        "vip_held": True,
        "fence_open": True,
        "lease_remaining_ms": 700,
        "demotion": 0,
        "is_paused": False,
        "can_split": True,
        "live_members": 3,
        "faults": (),
        "freshness": FRESH,
        "why_not": "",
        "peers": (peer_news(), peer_news("meta3", address="192.0.2.13")),
        "degradations": (),
        "counters": (
            *(("accepted", 10), ("unproven", 2), ("bad_digest", 3)),
            *(("queue_overflow", 1), ("send_failures", 4), ("lateness_sum_us", 700)),
        ),
        "lateness_us": (9, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1),
        "adverts_sent": 40,
        "messages_dropped": 0,
    }
    return StatusNews(**(values | changes))  # type: ignore[arg-type]  # each change names a field with its type
