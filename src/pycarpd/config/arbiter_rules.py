"""The rules about who decides that a node may be master: votes, an etcd, or nobody; applied by config.rules."""

import re
from collections.abc import Iterator

from pycarpd.control.reports import Report, report

ENDPOINT_PATTERN = re.compile(r"https?://([A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\]):[0-9]{1,5}")
PREFIX_PATTERN = re.compile(r"(/[A-Za-z0-9._-]+)+")
PAIR = 2


def two_nodes_opt_in(members: dict[str, str], witnesses: list[str], arbiter: str) -> Iterator[Report]:
    """Yield a report where two nodes without a witness have not been chosen on purpose."""
    if len(members) == PAIR and not witnesses and arbiter == "majority":
        yield report(
            "config-two-nodes",
            "two nodes without a witness have no majority when one of them is lost",
            key="cluster.arbiter",
            value=arbiter,
            rule='a cluster of two nodes without a witness says arbiter = "none" (rule S13), or "etcd"',
        )


def witness_has_a_say(witnesses: list[str], arbiter: str) -> Iterator[Report]:
    """Yield a report for witnesses where no votes count."""
    if witnesses and arbiter != "majority":
        yield report(
            "config-witness-without-say",
            f'has no effect with arbiter = "{arbiter}"',
            key="cluster.witnesses",
            value=", ".join(witnesses),
            rule='witnesses vote only with arbiter = "majority"',
        )


def etcd_where_it_belongs(arbiter: str, has_etcd: bool) -> Iterator[Report]:
    """Yield a report unless the [etcd] table is there exactly with that arbiter."""
    if (arbiter == "etcd") != has_etcd:
        message = "is there although etcd is not the arbiter" if has_etcd else "is missing although etcd is the arbiter"
        rule = 'the [etcd] table is there exactly with arbiter = "etcd"'
        yield report("config-etcd-table", message, key="etcd", value=arbiter, rule=rule)


def endpoints_are_urls(endpoints: list[str]) -> Iterator[Report]:
    """Yield a report for each endpoint that is no URL of an etcd member."""
    rule = "http://HOST:PORT or https://HOST:PORT of an etcd member, without a path"
    for index, url in enumerate(endpoints):
        if not ENDPOINT_PATTERN.fullmatch(url):
            key = f"etcd.endpoints[{index}]"
            yield report("config-bad-endpoint", f"{url!r} is no endpoint", key=key, value=url, rule=rule)


def prefix_is_a_path(prefix: str) -> Iterator[Report]:
    """Yield a report unless the prefix of the keys is a path."""
    if not PREFIX_PATTERN.fullmatch(prefix):
        rule = "begins with / and does not end with it; letters, digits and . _ - / in between"
        yield report("config-bad-prefix", "is no prefix of keys", key="etcd.prefix", value=prefix, rule=rule)


def pairs_are_whole(
    cert_file: str | None, key_file: str | None, user: str | None, secret: str | None
) -> Iterator[Report]:
    """Yield a report for half of a pair: certificate and key, or name and password."""
    pairs = (
        ("etcd.cert_file", cert_file, "etcd.cert_key_file", key_file),
        ("etcd.username", user, "etcd.password_file", secret),
    )
    for one, value, other, partner in pairs:
        if (value is None) != (partner is None):
            missing = one if value is None else other
            yield report("config-half-a-pair", "is missing", key=missing, rule=f"{one} and {other} go together")


def speculation_needs_votes(speculate: bool, arbiter: str) -> Iterator[Report]:
    """Yield a report for speculation where no votes count."""
    if speculate and arbiter != "majority":
        yield report(
            "config-speculation-without-votes",
            f'has no effect with arbiter = "{arbiter}"',
            key="cluster.speculate",
            value="true",
            rule='a standby loads on suspicion only with arbiter = "majority", where peers say that it is not cut off',
        )
