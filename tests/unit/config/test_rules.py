"""Every rule of the configuration has an example that breaks it; codes are compared, never sentences."""

import pytest

from pycarpd.config import Loaded, loads
from pycarpd.config.rules import RULES, parse_listen
from pycarpd.config.schema import SECTIONS
from pycarpd.control.reports import Severity

GOOD = """
[node]
name = "meta1"
[cluster]
vhid = 10
interface = "eth0"
virtual_addresses = ["192.0.2.100/24"]
key_file = "/etc/pycarpd/key"
members = { meta1 = "192.0.2.11", meta2 = "192.0.2.12", meta3 = "192.0.2.13" }
[moosefs]
also_start = ["mfscgiserv"]
[archive]
keep_count = 5
[drill]
interval_s = 7200
[http]
listen = "192.0.2.11:9430"
"""
TWO = 'members = { meta1 = "192.0.2.11", meta2 = "192.0.2.12" }'
THREE = 'members = { meta1 = "192.0.2.11", meta2 = "192.0.2.12", meta3 = "192.0.2.13" }'
VIP = 'virtual_addresses = ["192.0.2.100/24"]'
UCARP = 'vhid = 10\nstrict = false\narbiter = "none"\nucarp_pass_file = "/etc/pycarpd/ucarp"'


def codes(text: str) -> list[str]:
    """Return the codes of everything said about a configuration text."""
    loaded = loads(text)
    return [each.code for each in (loaded.notes if isinstance(loaded, Loaded) else loaded)]


def keys(text: str) -> list[str | None]:
    loaded = loads(text)
    return [each.key for each in (loaded.notes if isinstance(loaded, Loaded) else loaded)]


def changed(old: str, new: str) -> str:
    assert old in GOOD
    return GOOD.replace(old, new)


def test_the_example_is_valid() -> None:
    loaded = loads(GOOD)
    assert isinstance(loaded, Loaded)
    assert loaded.notes == ()


BREACHES = [
    ("config-bad-name", "meta2 = ", '"meta 2" = '),
    ("config-bad-name", "meta2 = ", f'"{"m" * 33}" = '),
    ("config-bad-address", '"192.0.2.12"', '"meta2.example"'),
    ("config-bad-address", '"192.0.2.12"', '"224.0.0.18"'),
    ("config-bad-address", '"192.0.2.12"', '"127.0.0.1"'),
    ("config-duplicate-address", '"192.0.2.12"', '"192.0.2.13"'),
    ("config-not-ipv4", '"192.0.2.12"', '"2001:db8::12"'),
    ("config-not-ipv4", VIP, 'virtual_addresses = ["2001:db8::100/64"]'),
    ("config-own-name-missing", 'name = "meta1"', 'name = "meta11"'),
    ("config-unknown-witness", "vhid = 10", 'vhid = 10\nwitnesses = ["meta4"]'),
    ("config-witness-with-moosefs", "vhid = 10", 'vhid = 10\nwitnesses = ["meta1"]'),
    ("config-candidate-without-moosefs", '[moosefs]\nalso_start = ["mfscgiserv"]', ""),
    ("config-two-nodes", THREE, TWO),
    ("config-etcd-table", "vhid = 10", 'vhid = 10\narbiter = "etcd"'),
    ("config-speculation-without-votes", "vhid = 10", 'vhid = 10\narbiter = "none"\nspeculate = true'),
    ("config-etcd-table", "[http]", '[etcd]\nendpoints = ["http://192.0.2.21:2379"]\n[http]'),
    ("config-bad-endpoint", "[moosefs]", 'arbiter = "etcd"\n[etcd]\nendpoints = ["192.0.2.21:2379"]\n[moosefs]'),
    (
        "config-bad-endpoint",
        "[moosefs]",
        'arbiter = "etcd"\n[etcd]\nendpoints = ["http://192.0.2.21:2379/v3"]\n[moosefs]',
    ),
    (
        "config-bad-prefix",
        "[moosefs]",
        'arbiter = "etcd"\n[etcd]\nendpoints = ["http://e:2379"]\nprefix = "pycarpd/"\n[moosefs]',
    ),
    (
        "config-half-a-pair",
        "[moosefs]",
        'arbiter = "etcd"\n[etcd]\nendpoints = ["http://e:2379"]\nusername = "meta"\n[moosefs]',
    ),
    (
        "config-half-a-pair",
        "[moosefs]",
        'arbiter = "etcd"\n[etcd]\nendpoints = ["http://e:2379"]\ncert_file = "/c"\n[moosefs]',
    ),
    ("config-bad-vip", VIP, 'virtual_addresses = ["192.0.2.100"]'),
    ("config-bad-vip", VIP, 'virtual_addresses = ["vip/24"]'),
    ("config-bad-vip", VIP, 'virtual_addresses = ["224.0.0.1/4"]'),
    ("config-duplicate-vip", VIP, 'virtual_addresses = ["192.0.2.100/24", "192.0.2.100/25"]'),
    ("config-vip-is-member", VIP, 'virtual_addresses = ["192.0.2.13/24"]'),
    ("config-ucarp-pass-file", "vhid = 10", 'vhid = 10\nstrict = false\narbiter = "none"'),
    ("config-ucarp-pass-file", "vhid = 10", 'vhid = 10\nucarp_pass_file = "/etc/pycarpd/ucarp"'),
    ("config-ucarp-no-vote", "vhid = 10", UCARP.replace('"none"', '"majority"')),
    ("config-ucarp-multicast", "vhid = 10", UCARP + "\nunicast = true"),
    ("config-bad-metaid", "[moosefs]", '[moosefs]\nexpected_metaid = "xyz"'),
    ("config-bad-listen", '"192.0.2.11:9430"', '"eth0:9430"'),
    ("config-bad-listen", '"192.0.2.11:9430"', '"192.0.2.11"'),
    ("config-bad-listen", '"192.0.2.11:9430"', '"192.0.2.11:70000"'),
    ("config-relative-path", '"/etc/pycarpd/key"', '"key"'),
    ("config-relative-path", 'name = "meta1"', 'name = "meta1"\nstate_dir = "state"'),
    ("config-relative-path", 'name = "meta1"', 'name = "meta1"\nrun_dir = "run"'),
    ("config-relative-path", "[moosefs]", '[moosefs]\ndata_path = "mfs"'),
    ("config-relative-path", "[moosefs]", '[moosefs]\nmaster_config = "mfsmaster.cfg"'),
    ("config-relative-path", "[moosefs]", '[moosefs]\nmetalogger_config = "mfsmetalogger.cfg"'),
    ("config-relative-path", "vhid = 10", UCARP.replace("/etc/pycarpd/", "")),
]


@pytest.mark.parametrize(("code", "old", "new"), BREACHES)
def test_a_breach_refuses_the_configuration_by_its_code(code: str, old: str, new: str) -> None:
    loaded = loads(changed(old, new))
    assert not isinstance(loaded, Loaded)
    (error,) = (each for each in loaded if each.severity is Severity.ERROR)
    assert error.code == code
    assert error.rule
    assert error.key
    assert error.hint


def test_not_everybody_can_be_a_witness() -> None:
    text = changed("vhid = 10", 'vhid = 10\nwitnesses = ["meta1", "meta2", "meta3"]')
    assert codes(text.replace('[moosefs]\nalso_start = ["mfscgiserv"]', "")) == ["config-no-candidate"]


def test_ucarp_digests_one_vip() -> None:
    two_vips = 'virtual_addresses = ["192.0.2.100/24", "192.0.2.101/24"]'
    assert codes(changed("vhid = 10", UCARP).replace(VIP, two_vips)) == ["config-ucarp-one-vip"]
    six = GOOD.replace("192.0.2.", "2001:db8::").replace('"2001:db8::11:9430"', '"[2001:db8::11]:9430"')
    assert codes(six) == ["config-not-ipv4"] * 4


NOTES = [
    ("config-witness-without-say", "[node]", "[node]", 'vhid = 10\narbiter = "none"\nwitnesses = ["meta2"]'),
    ("config-vip-other-subnet", VIP, 'virtual_addresses = ["198.51.100.1/24"]', "vhid = 10"),
    ("config-tie-break", "[node]", "[node]", UCARP + '\ntie_break = "numeric"'),
]


@pytest.mark.parametrize(("code", "old", "new", "cluster"), NOTES)
def test_what_is_allowed_but_odd_is_a_note(code: str, old: str, new: str, cluster: str) -> None:
    loaded = loads(changed(old, new).replace("vhid = 10", cluster))
    assert isinstance(loaded, Loaded)
    assert [(each.code, each.severity) for each in loaded.notes] == [(code, Severity.WARNING)]


@pytest.mark.parametrize(
    ("old", "new", "code", "key"),
    [
        ("vhid = 10", "vhid = 0", "config-bad-value", "cluster.vhid"),
        ("vhid = 10", "vhid = 256", "config-bad-value", "cluster.vhid"),
        ("vhid = 10", 'vhid = "10"', "config-bad-value", "cluster.vhid"),
        ("vhid = 10", "vhid = true", "config-bad-value", "cluster.vhid"),
        ("vhid = 10\n", "", "config-missing-key", "cluster.vhid"),
        ("vhid = 10", "vhid = 10\nadvert_interval_ms = 4", "config-bad-value", "cluster.advert_interval_ms"),
        ("vhid = 10", "vhid = 10\nadvert_interval_ms = 60001", "config-bad-value", "cluster.advert_interval_ms"),
        ("vhid = 10", "vhid = 10\nmissed_adverts = 1", "config-bad-value", "cluster.missed_adverts"),
        ("vhid = 10", "vhid = 10\nmissed_adverts = 21", "config-bad-value", "cluster.missed_adverts"),
        ("vhid = 10", "vhid = 10\npriority = 0", "config-bad-value", "cluster.priority"),
        ("vhid = 10", "vhid = 10\npriority = 255", "config-bad-value", "cluster.priority"),
        ("vhid = 10", 'vhid = 10\nprofile = "quick"', "config-bad-value", "cluster.profile"),
        ("vhid = 10", 'vhid = 10\narbiter = "raft"', "config-bad-value", "cluster.arbiter"),
        ("vhid = 10", 'vhid = 10\npreempt = "no"', "config-bad-value", "cluster.preempt"),
        ("vhid = 10", "vhid = 10\nspeculate = 2", "config-bad-value", "cluster.speculate"),
        (VIP, "virtual_addresses = []", "config-bad-value", "cluster.virtual_addresses"),
        (VIP, "virtual_addresses = [7]", "config-bad-value", "cluster.virtual_addresses[0]"),
        ("meta2 = ", "meta2 = 7, meta4 = ", "config-bad-value", "cluster.members.meta2"),
        ('"eth0"', '"an-interface-name-too-long"', "config-bad-value", "cluster.interface"),
        ("[archive]", "[archive]\nkeep_bytes = 5", "config-bad-value", "archive.keep_bytes"),
        ("interval_s = 7200", "interval_s = -1", "config-bad-value", "drill.interval_s"),
        ('[http]\nlisten = "192.0.2.11:9430"', "[http]", "config-missing-key", "http.listen"),
        ('[node]\nname = "meta1"', "[node]", "config-missing-key", "node.name"),
        ('[node]\nname = "meta1"', "", "config-missing-key", "node"),
    ],
)
def test_the_shape_of_each_key(old: str, new: str, code: str, key: str) -> None:
    text = changed(old, new)
    assert (code, key) in list(zip(codes(text), keys(text), strict=True))


@pytest.mark.parametrize(
    ("old", "new", "near"),
    [
        ("interface =", "interfce =", "interface"),
        ("[moosefs]", "[moosfs]", "moosefs"),
        ("also_start", "allso_start", "also_start"),
    ],
)
def test_an_unknown_key_names_the_closest_known_one(old: str, new: str, near: str) -> None:
    loaded = loads(changed(old, new))
    assert not isinstance(loaded, Loaded)
    (unknown,) = (each for each in loaded if each.code == "config-unknown-key")
    assert near in (unknown.hint or "")


def test_every_problem_is_told_at_once() -> None:
    text = (
        changed("vhid = 10", "vhid = 999")
        .replace('name = "meta1"', 'name = "meta9"')
        .replace(VIP, 'virtual_addresses = ["192.0.2.12/24"]')
        .replace("[http]", "[htpp]")
        .replace('"/etc/pycarpd/key"', '"key"')
    )
    assert sorted(codes(text)) == [
        "config-bad-value",
        "config-own-name-missing",
        "config-relative-path",
        "config-unknown-key",
        "config-vip-is-member",
    ]


def test_a_wrong_type_of_a_whole_table_is_a_report() -> None:
    assert "config-bad-value" in codes("node = 7\n[cluster]\n")
    assert codes("") == ["config-missing-key", "config-missing-key"]


def test_a_syntax_error_names_its_place() -> None:
    loaded = loads("[node\nname = 1", "pycarpd.toml")
    assert not isinstance(loaded, Loaded)
    assert [(each.code, each.key) for each in loaded] == [("config-not-toml", "pycarpd.toml")]
    assert "line 1" in loaded[0].message


def test_two_nodes_may_opt_in_or_have_a_witness() -> None:
    assert codes(changed(THREE, TWO).replace("vhid = 10", 'vhid = 10\narbiter = "none"')) == []
    assert codes(changed("vhid = 10", 'vhid = 10\nwitnesses = ["meta3"]')) == []


def test_the_first_host_of_a_migration_may_be_alone_beside_ucarp() -> None:
    assert codes(changed(THREE, 'members = { meta1 = "192.0.2.11" }').replace("vhid = 10", UCARP)) == []


def test_two_nodes_are_told_how_to_opt_in() -> None:
    loaded = loads(changed(THREE, TWO))
    assert not isinstance(loaded, Loaded)
    assert 'arbiter = "none"' in (loaded[0].hint or "")
    assert "S13" in (loaded[0].rule or "")


def test_every_rule_reads_keys_that_exist() -> None:
    known = {f"{name}.{key}" for name, model in SECTIONS.items() for key in model.model_fields} | {"moosefs", "etcd"}
    for rule in RULES:
        assert set(rule.needs) <= known, rule.name


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("192.0.2.11:9430", ("192.0.2.11", 9430)),
        ("[2001:db8::1]:80", ("2001:db8::1", 80)),
        ("2001:db8::1:80", None),
        ("[192.0.2.11]:80", None),
        (":80", None),
        ("192.0.2.11:", None),
        ("192.0.2.11:0", None),
        ("192.0.2.11:٣", None),
    ],
)
def test_listen_addresses(text: str, expected: tuple[str, int] | None) -> None:
    assert parse_listen(text) == expected
