"""The fence on real links: what passes and what does not, looked for on the neighbour's side, frame by frame."""

import os
import socket
from collections.abc import Iterator
from ipaddress import ip_address

import pytest

from pycarpd.linux.announce import Announcer
from pycarpd.linux.fence import Fence
from pycarpd.linux.frames import ETHERTYPE_IPV6, unsolicited_na
from tests.netns.fence_fixtures import BOTH, OPEN_MS, VIP, VIP6, answers, attach, detach, fenced, hosts, nft
from tests.netns.linux_fixtures import Lab, eventually, in_child

pytestmark = pytest.mark.netns

PORT = 9421
ETH_P_ALL = 3


@pytest.fixture
def lab() -> Iterator[Lab]:
    with hosts() as lab:
        yield lab


def listening(lab: Lab, label: str, vip: str) -> socket.socket:
    with lab.inside(label):
        return socket.create_server((vip, PORT), family=socket.AF_INET6 if ":" in vip else socket.AF_INET)


def connected(lab: Lab, label: str, vip: str) -> socket.socket:
    with lab.inside(label):
        return socket.create_connection((vip, PORT), timeout=10)


def receives(channel: socket.socket, expected: bytes, timeout_s: float) -> bool:
    channel.settimeout(timeout_s)
    try:
        return channel.recv(100) == expected
    except TimeoutError:
        return False


class Ear:
    """Hears every frame that reaches host b, and picks those that speak in a VIP's name."""

    def __init__(self, lab: Lab) -> None:
        with lab.inside("b"):
            self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
            self._socket.bind(("eth0", ETH_P_ALL))
        self._socket.setblocking(False)

    def heard(self) -> set[str]:
        """Return what has been heard since the last call: "arp", "ip", "ip6" and "na"."""
        vip, vip6 = (ip_address(text).packed for text in BOTH)
        found: set[str] = set()
        while True:
            try:
                frame, where = self._socket.recvfrom(2000)
            except BlockingIOError:
                return found
            body = frame[14:]
            if where[2] == socket.PACKET_OUTGOING:
                continue
            match frame[12:14]:
                case b"\x08\x06" if body[14:18] == vip:
                    found.add("arp")
                case b"\x08\x00" if body[12:16] == vip:
                    found.add("ip")
                case b"\x86\xdd" if body[6] == 58 and body[40] == 136 and body[48:64] == vip6:
                    found.add("na")
                case b"\x86\xdd" if body[8:24] == vip6:
                    found.add("ip6")
                case _:
                    pass


def provoke(lab: Lab, announcer: Announcer) -> set[str]:
    """Have host a speak in every way there is, asked and by itself; return the errors its programs met."""
    errors = set()
    for vip in BOTH:
        answers(lab, "b", vip)
        fault = announcer.announce(vip)
        errors |= {fault.name} if fault is not None else set()
        with (
            lab.inside("a"),
            socket.socket(socket.AF_INET6 if ":" in vip else socket.AF_INET, socket.SOCK_DGRAM) as speaker,
        ):
            speaker.bind((vip, 0))
            try:
                speaker.sendto(b"x", ("2001:db8::2" if ":" in vip else "192.0.2.2", PORT))
            except PermissionError:
                errors.add("EPERM")
    return errors


def test_nothing_is_said_in_a_virtual_addresss_name_while_the_fence_is_closed(lab: Lab) -> None:
    def body() -> None:
        ear, announcer = Ear(lab), Announcer("eth0")
        with lab.inside("a"):
            assert announcer.open() is None
        with fenced(lab) as fence:
            ear.heard()
            assert provoke(lab, announcer) == {"EPERM", "ENOBUFS"}
            assert ear.heard() == set()
            assert fence.renew(OPEN_MS) is None
            assert provoke(lab, announcer) == set()
            assert ear.heard() == {"arp", "ip", "na", "ip6"}
            assert fence.close() is None
            assert provoke(lab, announcer) == {"EPERM", "ENOBUFS"}
            assert ear.heard() == set()

    in_child(body)


def test_no_neighbour_advertisement_names_the_address_from_whatever_source(lab: Lab) -> None:
    def body() -> None:
        ear = Ear(lab)
        with lab.inside("a"):
            mouth = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETHERTYPE_IPV6))
            mouth.bind(("eth0", ETHERTYPE_IPV6))
        honest = unsolicited_na(bytes(6), VIP6)
        frame = honest[:22] + ip_address("2001:db8::1").packed + honest[38:]
        with fenced(lab) as fence:
            ear.heard()
            with pytest.raises(OSError, match="No buffer space"):
                mouth.send(frame)
            assert ear.heard() == set()
            assert fence.renew(OPEN_MS) is None
            assert mouth.send(frame) == len(frame)
            assert ear.heard() == {"na"}

    in_child(body)


@pytest.mark.parametrize("vip", BOTH)
def test_a_closed_fence_keeps_callers_out_and_leaves_all_else_alone(lab: Lab, vip: str) -> None:
    def body() -> None:
        assert answers(lab, "b", vip)
        with fenced(lab) as fence:
            for source in ("a", "b"):
                assert not answers(lab, source, vip)
            for address in ("192.0.2.1", "2001:db8::1"):
                assert answers(lab, "b", address)
            assert fence.renew(OPEN_MS) is None
            for source in ("a", "b"):
                assert answers(lab, source, vip)
            assert fence.remove() is None
            assert answers(lab, "b", vip)

    in_child(body)


@pytest.mark.parametrize("vip", BOTH)
def test_an_established_connection_stands_still_until_the_fence_is_open_again(lab: Lab, vip: str) -> None:
    def body() -> None:
        with fenced(lab) as fence:
            assert fence.renew(OPEN_MS) is None
            with listening(lab, "a", vip) as server, connected(lab, "b", vip) as client, server.accept()[0] as peer:
                client.send(b"one")
                assert receives(peer, b"one", 10)
                assert fence.close() is None
                client.send(b"two")
                assert not receives(peer, b"two", 0.5)
                assert fence.renew(OPEN_MS) is None
                assert receives(peer, b"two", 20)
                assert fence.close() is None
                peer.send(b"three")
                assert not receives(client, b"three", 0.5)
                assert fence.renew(OPEN_MS) is None
                assert receives(client, b"three", 20)

    in_child(body)


@pytest.mark.parametrize("vip", BOTH)
def test_behind_a_closed_fence_a_host_is_still_a_client_of_another_holder(lab: Lab, vip: str) -> None:
    def body() -> None:
        detach(lab, "a")
        attach(lab, "b")
        with fenced(lab), listening(lab, "b", vip) as server:
            assert answers(lab, "a", vip)
            with connected(lab, "a", vip) as client, server.accept()[0] as peer:
                client.send(b"question")
                assert receives(peer, b"question", 10)
                peer.send(b"answer")
                assert receives(client, b"answer", 10)

    in_child(body)


@pytest.mark.parametrize("vip", BOTH)
def test_behind_a_closed_fence_the_neighbour_table_follows_another_holder(lab: Lab, vip: str) -> None:
    def body() -> None:
        detach(lab, "a")
        lab.ip("a", "neigh", "replace", vip, "lladdr", "02:00:00:00:00:55", "dev", "eth0", "nud", "stale")
        lab.ip("b", "link", "set", "eth0", "address", "02:00:00:00:00:77")
        announcer = Announcer("eth0")
        with lab.inside("b"):
            assert announcer.open() is None
        with fenced(lab):
            assert eventually(
                lambda: (
                    announcer.announce(vip) is None
                    and "02:00:00:00:00:77" in lab.ip("a", "neigh", "show", vip, "dev", "eth0")
                )
            )

    in_child(body)


def test_another_interface_is_no_way_around(lab: Lab) -> None:
    lab.connect(("a", "eth1", "198.51.100.1/24"), ("b", "eth1", "198.51.100.2/24"))
    lab.ip("b", "route", "add", f"{VIP}/32", "dev", "eth1", "src", "198.51.100.2")

    def body() -> None:
        with fenced(lab) as fence:
            assert not answers(lab, "b", VIP)
            assert "lladdr" not in lab.ip("b", "neigh", "show", VIP, "dev", "eth1")
            assert answers(lab, "b", "198.51.100.1")
            assert fence.renew(OPEN_MS) is None
            assert answers(lab, "b", VIP)

    in_child(body)


def test_an_interface_that_goes_away_and_comes_back(lab: Lab) -> None:
    def body() -> None:
        with fenced(lab) as fence:
            lab.ip("a", "link", "del", "eth0")
            assert fence.renew(OPEN_MS) is None
            assert fence.close() is None
            with lab.inside("a"):
                fault = fence.install()
                assert fault is None or fault.operation.startswith("watch ")
                assert fence.is_open() is False
                assert fence.renew(OPEN_MS) is None
            lab.connect(("a", "eth0", "192.0.2.1/24"), ("b", "eth0", "192.0.2.2/24"))
            with lab.inside("a"):
                assert fence.install() is None
                announcer = Announcer("eth0")
                assert announcer.open() is None
            fault = announcer.announce(VIP)
            assert fault is not None
            assert fault.name == "ENOBUFS"
            assert fence.renew(OPEN_MS) is None
            assert announcer.announce(VIP) is None

    in_child(body)


def test_two_fences_on_one_host_keep_to_their_own_addresses(lab: Lab) -> None:
    def body() -> None:
        with fenced(lab, vips=(VIP,)) as one, fenced(lab, vips=(VIP6,)) as other:
            assert one.renew(OPEN_MS) is None
            assert answers(lab, "b", VIP)
            assert not answers(lab, "b", VIP6)
            assert one.remove() is None
            assert not answers(lab, "b", VIP6)
            assert other.renew(OPEN_MS) is None
            assert answers(lab, "b", VIP6)
            assert other.remove() is None
        assert nft(lab, "a", "list", "tables") == ""

    in_child(body)


def test_nft_reads_the_rules_as_they_are_meant(lab: Lab) -> None:
    closed4, closed6, target6 = "!= @open4 drop", "!= @open6 drop", f"@th,64,128 0x{ip_address(VIP6).packed.hex()}"
    speaks = {
        f"ip saddr {VIP} ip saddr {closed4}",
        f"ip6 saddr {VIP6} ip6 saddr {closed6}",
        f"icmpv6 type nd-neighbor-advert {target6} @th,64,128 {closed6}",
    }
    answers_arp = {f"arp saddr ip {VIP} arp saddr ip {closed4}"}

    def body() -> None:
        with fenced(lab):
            listing = nft(lab, "a", "list", "ruleset")
        assert rules(listing) == {
            "type filter hook input priority raw; policy accept;": {
                f"ip daddr {VIP} ip daddr {closed4}",
                f"ip6 daddr {VIP6} ip6 daddr {closed6}",
                f"icmpv6 type nd-neighbor-solicit {target6} @th,64,128 {closed6}",
            },
            "type filter hook output priority raw; policy accept;": speaks,
            "type filter hook input priority -300; policy accept;": {
                f"arp saddr ip != {VIP} arp daddr ip {VIP} arp daddr ip {closed4}"
            },
            "type filter hook output priority -300; policy accept;": answers_arp,
            'type filter hook egress device "eth0" priority -300; policy accept;': speaks | answers_arp,
        }

    in_child(body)


def rules(listing: str) -> dict[str, set[str]]:
    """Return the rules by the line that tells their chain's hook; nft names a priority only in the IP families."""
    found: dict[str, set[str]] = {}
    chain: set[str] = set()
    for line in map(str.strip, listing.splitlines()):
        if line.startswith("type filter"):
            chain = found.setdefault(line, set())
        elif line.endswith(" drop"):
            # Later versions of nft know the target's name, and write it as an address.
            target = f"@th,64,128 0x{ip_address(VIP6).packed.hex()}"
            chain.add(line.replace(f"icmpv6 taddr {VIP6}", target).replace("icmpv6 taddr", "@th,64,128"))
    return found


def test_the_kernel_is_asked_beforehand_and_keeps_nothing(lab: Lab) -> None:
    def body() -> None:
        with lab.inside("a"):
            assert Fence("not-there0", BOTH).is_available() is None
            assert nft(lab, "a", "list", "ruleset") == ""
            refusal = in_child(unprivileged)
        assert refusal == "fence-not-permitted"

    def unprivileged() -> str | None:
        os.setuid(65534)
        degradation = Fence("eth0", BOTH).is_available()
        return degradation.code if degradation is not None else None

    in_child(body)
