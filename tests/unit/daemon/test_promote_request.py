"""A promotion is asked for with how the other members were heard, where a fence command wants to know."""

from dataclasses import replace

from pycarpd.daemon.messages import PromoteRequest
from pycarpd.daemon.news import promote_request
from pycarpd.election.effects import StartPromotion
from pycarpd.election.elector import Elector
from pycarpd.election.model import Persistent
from pycarpd.election.node import Identity
from tests.unit.daemon.values import MS, daemon_settings


def asked(*fence_command: str) -> PromoteRequest:
    settings = replace(daemon_settings(), fence_command=fence_command)
    elector = Elector(settings.election, Identity(epoch=1, nonce=2), Persistent())
    return promote_request(settings, elector.snapshot(MS), StartPromotion(9), (), False, MS)


def test_all_other_members_are_told_to_a_site_that_fences() -> None:
    request = asked("/usr/local/sbin/power-off")
    assert request.peers is not None
    assert [(peer.name, peer.heard_ms) for peer in request.peers] == [("meta2", None), ("meta3", None)]


def test_nobody_is_told_where_nothing_asks_for_it() -> None:
    assert asked().peers is None
    assert asked().term == 9
