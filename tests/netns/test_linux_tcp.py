"""Old connections and the client port: listed, woken by tickles, kept out by the gate."""

import errno
import socket
import subprocess
from collections.abc import Iterator
from contextlib import suppress

import pytest

from pycarpd.linux.connections import TcpPeer, list_connections
from pycarpd.linux.gate import ClientGate
from pycarpd.linux.latecomers import Latecomers
from pycarpd.linux.tickle import send_tickles
from tests.netns.linux_fixtures import Lab, eventually, in_child, laboratory, pair, wait_readable

pytestmark = pytest.mark.netns

VIP = "192.0.2.100"
PORT = 9421
RESET = 0x04


@pytest.fixture
def hosts() -> Iterator[Lab]:
    """Two master hosts and a client on one bridge; the VIP is on master a."""
    with laboratory("s", "a", "b", "c") as lab:
        lab.ip("s", "link", "add", "bridge0", "type", "bridge", "forward_delay", "0", "mcast_snooping", "0")
        lab.ip("s", "link", "set", "bridge0", "up")
        for number, label in enumerate("abc", start=1):
            lab.connect((label, "eth0", f"192.0.2.{number}/24"), ("s", f"to-{label}", f"198.51.100.{number}/32"))
            lab.ip("s", "link", "set", f"to-{label}", "master", "bridge0")
        lab.ip("a", "addr", "add", f"{VIP}/32", "dev", "eth0")
        yield lab


def listening(lab: Lab, label: str, port: int = PORT) -> socket.socket:
    with lab.inside(label):
        server = socket.create_server(("0.0.0.0", port))  # noqa: S104 -- a namespace of the test's own
    server.settimeout(10)
    return server


def connected(lab: Lab, label: str, address: str = VIP, port: int = PORT) -> socket.socket:
    with lab.inside(label):
        return socket.create_connection((address, port), timeout=10)


def test_established_connections_are_listed_by_service_port_and_address(hosts: Lab) -> None:
    def body() -> None:
        server = listening(hosts, "a")
        by_vip, by_own = connected(hosts, "c"), connected(hosts, "c", "192.0.2.1")
        accepted = [server.accept()[0] for _ in range(2)]
        client = socket.inet_aton("192.0.2.3")
        vip_peer = TcpPeer(client, by_vip.getsockname()[1], PORT)
        own_peer = TcpPeer(client, by_own.getsockname()[1], PORT)
        with hosts.inside("a"):
            assert list_connections((9419, PORT)) == tuple(sorted((vip_peer, own_peer)))
            assert list_connections((PORT,), VIP) == (vip_peer,)
            assert list_connections((9419, 9420)) == ()
            by_vip.close()
            assert eventually(lambda: list_connections((PORT,)) == (own_peer,))
        with hosts.inside("c"):
            assert list_connections((PORT,)) == ()
        assert len(accepted) == 2

    in_child(body)


def test_those_of_the_port_that_is_named_first_come_first(hosts: Lab) -> None:
    def body() -> None:
        servers = [listening(hosts, "a", port) for port in (9420, PORT)]
        ends = [connected(hosts, "c", port=port) for port in (9420, PORT, 9420)]
        with hosts.inside("a"):
            for ports in ((9420, PORT), (PORT, 9420)):
                listed = list_connections(ports)
                assert isinstance(listed, tuple)
                found = [each.service_port for each in listed]
                assert found == sorted(found, key=ports.index)
                assert len(found) == len(ends)
        assert len(servers) == 2

    in_child(body)


def test_a_client_of_a_vanished_master_is_reset_by_a_tickle_from_the_new_one(hosts: Lab) -> None:
    def body() -> None:
        server = listening(hosts, "a")
        client = connected(hosts, "c")
        peer, _ = server.accept()
        peer.send(b"some bytes, so that the sequence numbers have moved")
        assert client.recv(1000)
        with hosts.inside("a"):
            peers = list_connections((PORT,), VIP)
        assert isinstance(peers, tuple)
        hosts.ip("s", "link", "set", "to-a", "down")
        hosts.ip("b", "addr", "add", f"{VIP}/32", "dev", "eth0")
        hosts.ip("c", "neigh", "flush", "all")
        new_server = listening(hosts, "b")
        assert not wait_readable(client.fileno(), 0.3)
        with hosts.inside("b"):
            result = send_tickles(VIP, peers)
        assert (result.sent, result.failed, result.fault) == (1, 0, None)
        assert wait_readable(client.fileno())
        with pytest.raises(ConnectionResetError):
            client.recv(1)
        again = connected(hosts, "c")
        assert new_server.accept()[1] == again.getsockname()

    in_child(body)


def test_a_tickle_does_no_harm_to_a_connection_that_is_alive(hosts: Lab) -> None:
    def body() -> None:
        server = listening(hosts, "a")
        client = connected(hosts, "c")
        peer, _ = server.accept()
        with hosts.inside("a"):
            peers = list_connections((PORT,), VIP)
            assert isinstance(peers, tuple)
            for _ in range(5):
                assert send_tickles(VIP, peers).sent == 1
        assert not wait_readable(client.fileno(), 0.3)
        for one, other in ((client, peer), (peer, client)):
            one.send(b"alive")
            assert other.recv(5) == b"alive"

    in_child(body)


def test_tickles_that_cannot_leave_are_counted() -> None:
    with pair() as lab:

        def body() -> None:
            with lab.inside("a"):
                nowhere = (socket.inet_aton("198.51.100.9"), 40000, PORT)
                result = send_tickles(VIP, [nowhere, (socket.inet_aton("192.0.2.2"), 40000, PORT), nowhere])
            assert (result.sent, result.failed) == (1, 2)
            assert result.fault is not None
            assert result.fault.name == "ENETUNREACH"

        in_child(body)


def refused_or_dropped(lab: Lab, address: str, port: int = PORT) -> str:
    """Try once to connect from host b."""
    with lab.inside("b"), socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET) as attempt:
        attempt.settimeout(0.3)
        try:
            number = attempt.connect_ex((address, port))
        except TimeoutError:
            return "dropped"
    return {0: "connected", errno.ECONNREFUSED: "refused", errno.EAGAIN: "dropped"}[number]


def test_the_gate_drops_the_port_of_the_vip_only_and_opens_again() -> None:
    with pair() as lab:
        lab.ip("a", "addr", "add", f"{VIP}/24", "dev", "eth0")
        lab.ip("a", "addr", "add", "2001:db8::100/64", "dev", "eth0", "nodad")
        lab.ip("b", "addr", "add", "2001:db8::2/64", "dev", "eth0", "nodad")

        def body() -> None:
            for address in (VIP, "2001:db8::100"):
                with lab.inside("a"):
                    gate = ClientGate(address, PORT)
                    assert gate.is_closed() is False
                    assert gate.open() is None
                assert refused_or_dropped(lab, address) == "refused"
                with lab.inside("a"):
                    assert gate.close() is None
                    assert gate.close() is None
                    assert gate.is_closed() is True
                assert refused_or_dropped(lab, address) == "dropped"
                assert refused_or_dropped(lab, address, PORT - 1) == "refused"
                assert refused_or_dropped(lab, "192.0.2.1") == "refused"
                with lab.inside("a"):
                    assert gate.open() is None
                    assert gate.is_closed() is False
                assert refused_or_dropped(lab, address) == "refused"
                with lab.inside("a"):
                    assert gate.remove() is None
                    assert gate.open() is None
                    assert gate.is_closed() is False
                assert refused_or_dropped(lab, address) == "refused"

        in_child(body)


def test_a_connection_that_meets_the_gate_goes_on_when_it_opens() -> None:
    with pair() as lab:

        def body() -> None:
            server = listening(lab, "a")
            with lab.inside("a"):
                gate = ClientGate("192.0.2.1", PORT)
                assert gate.close() is None
            with lab.inside("b"):
                client = socket.socket()
            client.setblocking(False)
            with suppress(BlockingIOError):
                client.connect(("192.0.2.1", PORT))
            assert not wait_readable(server.fileno(), 0.3)
            with lab.inside("a"):
                assert gate.open() is None
            assert server.accept()[1] == client.getsockname()

        in_child(body)


def test_a_gate_that_nobody_opens_opens_itself() -> None:
    with pair() as lab:

        def body() -> None:
            with lab.inside("a"):
                gate = ClientGate("192.0.2.1", PORT, open_after_s=1)
                assert gate.close() is None
            assert eventually(lambda: refused_or_dropped(lab, "192.0.2.1") == "refused")
            with lab.inside("a"):
                assert eventually(lambda: gate.is_closed() is False)

        in_child(body)


def test_held_ports_refuse_old_connections_and_drop_new_ones_until_they_are_released() -> None:
    with pair() as lab:

        def body() -> None:
            with lab.inside("a"):
                gate = ClientGate("192.0.2.1", PORT, held_ports=(PORT - 1, PORT - 2))
                assert gate.release() is None
                assert gate.keep_out(60) is None
            fates = [refused_or_dropped(lab, "192.0.2.1", PORT - n) for n in range(4)]
            assert fates == ["dropped", "dropped", "dropped", "refused"]
            old_connection = (socket.inet_aton("192.0.2.1"), PORT - 1, 5555)
            with lab.inside("b"), socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_TCP) as ear:
                ear.settimeout(10)
                assert send_tickles("192.0.2.2", [old_connection]).sent == 1
                assert ear.recv(1000)[33] & RESET
            with lab.inside("a"):
                assert gate.release() is None
                assert gate.is_closed() is True
            assert [refused_or_dropped(lab, "192.0.2.1", PORT - n) for n in range(3)] == [
                "dropped",
                "refused",
                "refused",
            ]

        in_child(body)


def test_a_connection_that_came_too_early_is_made_when_somebody_listens() -> None:
    with pair() as lab:

        def body() -> None:
            with lab.inside("a"):
                # What comes from outside stays dropped: only what was kept can open the connection.
                rule = f"iifname eth0 tcp dport {PORT} tcp flags syn drop"
                chain = f"chain input {{ type filter hook input priority 0\n {rule}\n }}"
                subprocess.run(["nft", "-f", "-"], input=f"table ip t {{ {chain}\n }}".encode(), check=True, timeout=10)
                kept = Latecomers("192.0.2.1", (PORT - 1, PORT))
                assert kept.open() is None
                assert kept.open() is None
            clients = []
            for _ in range(3):
                with lab.inside("b"):
                    clients.append(socket.socket())
                clients[-1].setblocking(False)
                with suppress(BlockingIOError):
                    clients[-1].connect(("192.0.2.1", PORT))
            assert refused_or_dropped(lab, "192.0.2.1", PORT - 2) == "refused"
            server = listening(lab, "a")
            with lab.inside("a"):
                released = kept.release()
            assert (released.count, released.fault) == (3, None)
            assert {server.accept()[1] for _ in clients} == {each.getsockname() for each in clients}
            assert kept.release().count == 0

        in_child(body)
