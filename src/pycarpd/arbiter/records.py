"""What pycarpd keeps in etcd, and the requests that read and change it. Pure: JSON of etcd's own HTTP gateway.

Three kinds of keys below one prefix::

    PREFIX/holder         who is master, and in which term; bound to the holder's lease, gone when that has run out
    PREFIX/term           the newest term that was ever given; stays
    PREFIX/members/NAME   what a member's files prove; bound to that member's own lease

A claim is one transaction: it succeeds only while nobody holds the master's key and no term has been given since the
keys were read. So a term is given once (S1), to one node, and terms only grow, whatever happens to the answer.

Source: etcd API reference v3.4, gRPC gateway: keys and values travel in base64, 64-bit numbers as strings.
"""

import json
from base64 import b64decode, b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pycarpd.election.model import Freshness

HOLDER = "holder"
TERM = "term"
MEMBERS = "members/"

Body = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Holder:
    """Who holds the term; ``lease_id`` is etcd's, ``mod_revision`` says which writing of the key this is."""

    node: str
    term: int
    lease_id: int
    mod_revision: int


@dataclass(frozen=True, slots=True)
class MemberRecord:
    """What a member said of itself while its session lives. ``is_standby``: it neither serves nor is about to."""

    node: str
    is_standby: bool
    is_promotable: bool
    freshness: Freshness | None


@dataclass(frozen=True, slots=True)
class Standings:
    """All keys at one revision; ``term_revision`` 0 means that no term was ever given."""

    revision: int
    holder: Holder | None
    term: int
    term_revision: int
    members: tuple[MemberRecord, ...]


def encoded(text: str) -> str:
    """Return the text as keys and values travel."""
    return b64encode(text.encode()).decode()


def range_body(prefix: str) -> Body:
    """Return the request for everything below the prefix, linearizable: answered by a majority or not at all."""
    start = f"{prefix}/"
    return {"key": encoded(start), "range_end": encoded(f"{prefix}0")}  # "0" follows "/": the end of the prefix


def claim_body(prefix: str, standings: Standings, node: str, term: int, lease_id: int) -> Body:
    """Return the transaction that gives the node the term, if nothing has changed since the standings were read."""
    held = standings.holder.mod_revision if standings.holder is not None else 0
    return {
        "compare": [
            _unchanged(f"{prefix}/{HOLDER}", held),
            _unchanged(f"{prefix}/{TERM}", standings.term_revision),
        ],
        "success": [
            _put(f"{prefix}/{HOLDER}", {"node": node, "term": term}, lease_id),
            _put(f"{prefix}/{TERM}", term),
        ],
    }


def renewed_body(prefix: str, standings: Standings, node: str, term: int, lease_id: int) -> Body:
    """Return the transaction that binds the node's own term to a new lease, if nobody was given another since."""
    held = standings.holder.mod_revision if standings.holder is not None else 0
    return {
        "compare": [
            _unchanged(f"{prefix}/{HOLDER}", held),
            _unchanged(f"{prefix}/{TERM}", standings.term_revision),
        ],
        "success": [_put(f"{prefix}/{HOLDER}", {"node": node, "term": term}, lease_id)],
    }


def member_body(prefix: str, record: MemberRecord, lease_id: int) -> Body:
    """Return the request that publishes what a member's files prove."""
    freshness = record.freshness
    value = {
        "standby": record.is_standby,
        "promotable": record.is_promotable,
        "metaid": None if freshness is None else f"{freshness.metaid:016x}",
        "version": None if freshness is None else freshness.version,
        "lineage": None if freshness is None else freshness.lineage,
    }
    return {"key": encoded(f"{prefix}/{MEMBERS}{record.node}"), "value": encoded(json.dumps(value)), "lease": lease_id}


def _unchanged(key: str, mod_revision: int) -> Body:
    return {"key": encoded(key), "target": "MOD", "result": "EQUAL", "mod_revision": str(mod_revision)}


def _put(key: str, value: object, lease_id: int = 0) -> Body:
    return {"request_put": {"key": encoded(key), "value": encoded(json.dumps(value)), "lease": lease_id}}


def parse_standings(prefix: str, answer: Body) -> Standings | None:
    """Return what a range answer says; None if it is not of the form that pycarpd writes."""
    try:
        return _standings(prefix, answer)
    except (KeyError, TypeError, ValueError):
        return None


def _standings(prefix: str, answer: Body) -> Standings:
    holder: Holder | None = None
    term, term_revision = 0, 0
    members: list[MemberRecord] = []
    for each in answer.get("kvs", ()):
        name = b64decode(each["key"]).decode().removeprefix(f"{prefix}/")
        value = json.loads(b64decode(each.get("value", "")))
        if name == HOLDER:
            lease_id = int(each.get("lease", 0))
            holder = Holder(str(value["node"]), int(value["term"]), lease_id, int(each["mod_revision"]))
        elif name == TERM:
            term, term_revision = int(value), int(each["mod_revision"])
        elif name.startswith(MEMBERS):
            members.append(_member(name.removeprefix(MEMBERS), value))
    revision = int(answer["header"]["revision"])
    return Standings(revision, holder, term, term_revision, tuple(members))


def _member(node: str, value: Mapping[str, Any]) -> MemberRecord:
    freshness = None
    if value["metaid"] is not None:
        lineage = value["lineage"]
        freshness = Freshness(
            int(value["metaid"], 16), int(value["version"]), lineage=None if lineage is None else int(lineage)
        )
    return MemberRecord(node, bool(value["standby"]), bool(value["promotable"]), freshness)
