"""That another host's mfsexports.cfg differs is a warning of its own."""

from pycarpd.control.reports import Severity
from pycarpd.daemon.board import Board
from tests.unit.daemon.values import daemon_settings, peer_news, status_news


def test_the_host_is_named() -> None:
    peers = (peer_news(has_same_exports=False), peer_news("meta3"))
    found = Board(daemon_settings(), news=status_news(peers=peers)).status().reports
    (report,) = [each for each in found if each.code == "exports-mismatch"]
    assert (report.severity, report.key) == (Severity.WARNING, "meta2")
    assert report.message == "mfsexports.cfg differs on meta2"
