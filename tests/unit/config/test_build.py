"""From configuration to settings: defaults, profiles, digests, derived times, secrets, reload."""

import os
from pathlib import Path

import pytest

from pycarpd.config import (
    Config,
    Loaded,
    Secrets,
    check_files,
    config_digest,
    daemon_settings,
    derived_times,
    election_settings,
    load,
    loads,
    moosefs_settings,
    priority_of,
    read_secrets,
    reloadable_changes,
)
from pycarpd.config.reload import REFUSALS, RELOADABLE
from pycarpd.config.schema import SECTIONS
from pycarpd.election.model import Arbiter, TieBreak
from pycarpd.settings import DaemonSettings
from pycarpd.wire.identity import node_id_of

KEY_LINE = "ab" * 32
GOOD = """
[node]
name = "meta2"
[cluster]
vhid = 10
interface = "eth0"
virtual_addresses = ["192.0.2.100/24"]
key_file = "/etc/pycarpd/key"
members = { meta1 = "192.0.2.11", meta2 = "192.0.2.12", meta3 = "192.0.2.13" }
[moosefs]
expected_metaid = "0x5F3A"
[http]
listen = "192.0.2.12:9430"
"""


def valid(text: str) -> Config:
    loaded = loads(text)
    assert isinstance(loaded, Loaded), loaded
    return loaded.config


def with_cluster(lines: str) -> Config:
    return valid(GOOD.replace("vhid = 10", f"vhid = 10\n{lines}"))


def test_the_defaults_are_those_of_the_default_profile() -> None:
    settings = election_settings(valid(GOOD))
    assert (settings.interval_ns, settings.missed_adverts, settings.advbase) == (250_000_000, 3, 1)
    assert (settings.preempt, settings.speculates) == (False, False)
    assert (settings.strict, settings.arbiter) == (True, Arbiter.MAJORITY)
    assert settings.tie_break is TieBreak.NUMERIC
    assert settings.me.name == "meta2"
    assert settings.me.address == bytes([192, 0, 2, 12])
    assert settings.node_id == node_id_of("meta2")


@pytest.mark.parametrize(
    ("lines", "interval_ms", "missed", "advbase", "realtime"),
    [
        ('profile = "fast"', 10, 3, 1, True),
        ('profile = "ucarp"', 1000, 3, 1, False),
        ('profile = "fast"\nadvert_interval_ms = 20\nmissed_adverts = 5', 20, 5, 1, True),
        ("advert_interval_ms = 1500", 1500, 3, 2, False),
        ("advert_interval_ms = 60000", 60_000, 3, 60, False),
    ],
)
def test_profiles_and_what_overrides_them(
    lines: str, interval_ms: int, missed: int, advbase: int, realtime: bool
) -> None:
    config = with_cluster(lines)
    settings = election_settings(config)
    assert (settings.interval_ns, settings.missed_adverts) == (interval_ms * 1_000_000, missed)
    assert settings.advbase == advbase
    assert daemon_settings(config, Secrets(KEY_LINE, None)).realtime is realtime


def test_beside_ucarp_ties_are_broken_as_ucarp_does() -> None:
    config = with_cluster('strict = false\narbiter = "none"\nucarp_pass_file = "/etc/pycarpd/ucarp"')
    assert election_settings(config).tie_break is TieBreak.UCARP_LITTLE_ENDIAN


def test_priorities_follow_the_order_of_members_unless_given() -> None:
    config = valid(GOOD)
    assert [priority_of(config, name) for name in ("meta1", "meta2", "meta3")] == [254, 190, 126]
    own = with_cluster("priority = 7")
    assert [priority_of(own, name) for name in ("meta1", "meta2", "meta3")] == [254, 7, 126]


def test_sixteen_members_have_sixteen_priorities() -> None:
    members = ", ".join(f'n{index} = "192.0.2.{index + 1}"' for index in range(16))
    text = GOOD.replace("meta2", "n0", 1)
    before, _, after = text.partition("members = ")
    config = valid(f"{before}members = {{ {members} }}\n[moosefs]" + after.partition("[moosefs]")[2])
    priorities = [priority_of(config, name) for name in config.cluster.members]
    assert priorities == sorted(set(priorities), reverse=True)
    assert priorities[-1] >= 1


def test_the_digest_covers_what_members_must_agree_on_and_nothing_else() -> None:
    digest = config_digest(valid(GOOD))
    same = GOOD.replace('name = "meta2"', 'name = "meta3"').replace("eth0", "eth1").replace("9430", "9431")
    assert config_digest(valid(same)) == digest
    assert config_digest(with_cluster("priority = 9\npreempt = true")) == digest
    for old, new in (
        ("vhid = 10", "vhid = 11"),
        ("192.0.2.100/24", "192.0.2.101/24"),
        ("192.0.2.100/24", "192.0.2.100/25"),
        ("192.0.2.13", "192.0.2.14"),
        ("vhid = 10", 'vhid = 10\narbiter = "none"'),
        ("vhid = 10", 'vhid = 10\nwitnesses = ["meta1"]'),
    ):
        assert config_digest(valid(GOOD.replace(old, new))) != digest, new


def test_derived_times_follow_rfc_9568() -> None:
    times = derived_times(valid(GOOD))
    assert times.advert_interval_ms == 250
    assert times.skew_ms == pytest.approx(250 * (256 - 190) / 256)
    assert times.master_down_ms == pytest.approx(750 + times.skew_ms)
    assert times.worst_detection_ms == pytest.approx(times.master_down_ms)
    assert times.last_turn_ms == pytest.approx(750 + 250 * (256 - 126) / 256)


def test_moosefs_settings() -> None:
    settings = moosefs_settings(valid(GOOD))
    assert settings is not None
    assert settings.expected_metaid == 0x5F3A
    assert (settings.start_timeout_s, settings.hang_timeout_s) == (1800, 10)
    assert settings.data_path == "/var/lib/mfs"
    witness = GOOD.replace("vhid = 10", 'vhid = 10\nwitnesses = ["meta2"]').replace("[moosefs]", "")
    assert moosefs_settings(valid(witness.replace('expected_metaid = "0x5F3A"', ""))) is None


def test_daemon_settings_come_back_from_json_and_hide_their_secrets() -> None:
    settings = daemon_settings(valid(GOOD), Secrets(KEY_LINE, b"love"))
    assert DaemonSettings.from_json(settings.to_json()) == settings
    assert KEY_LINE not in repr(settings)
    assert "love" not in repr(settings)
    assert settings.control_socket == "/run/pycarpd/control.sock"
    assert (settings.http_host, settings.http_port) == ("192.0.2.12", 9430)


def secret_config(directory: Path, *, ucarp: bool = False) -> Config:
    lines = f'strict = false\narbiter = "none"\nucarp_pass_file = "{directory}/ucarp"' if ucarp else ""
    text = GOOD.replace("/etc/pycarpd/key", f"{directory}/key").replace("vhid = 10", f"vhid = 10\n{lines}")
    return valid(text)


def put(path: Path, content: bytes, mode: int = 0o600) -> None:
    path.write_bytes(content)
    path.chmod(mode)


def test_sound_secrets_are_read(tmp_path: Path) -> None:
    put(tmp_path / "key", f"# newest first\n{KEY_LINE}\n".encode(), 0o400)
    put(tmp_path / "ucarp", b"love\nsecond line\n")
    secrets = read_secrets(secret_config(tmp_path, ucarp=True))
    assert isinstance(secrets, Secrets)
    assert secrets.ucarp_password == b"love"
    assert KEY_LINE in secrets.key_text
    assert KEY_LINE not in repr(secrets)
    assert check_files(secret_config(tmp_path)) == ()


@pytest.mark.parametrize(
    ("content", "mode", "code"),
    [
        (KEY_LINE.encode(), 0o644, "secret-mode"),
        (KEY_LINE.encode(), 0o660, "secret-mode"),
        (b"", 0o600, "key-file-bad"),
        (b"abcd\n", 0o600, "key-file-bad"),
        (b"\xff\xfe", 0o600, "key-file-bad"),
    ],
)
def test_an_unsound_key_file_is_refused(tmp_path: Path, content: bytes, mode: int, code: str) -> None:
    put(tmp_path / "key", content, mode)
    reports = check_files(secret_config(tmp_path))
    assert [each.code for each in reports] == [code]
    assert not content.decode(errors="replace").strip() or all(
        content.decode(errors="replace").strip() not in each.line for each in reports
    )


def test_a_key_file_of_another_owner_that_all_may_read_breaks_two_rules(tmp_path: Path) -> None:
    put(tmp_path / "key", KEY_LINE.encode(), 0o644)
    os.chown(tmp_path / "key", 65_534, 65_534)
    assert [each.code for each in check_files(secret_config(tmp_path))] == ["secret-mode", "secret-owner"]


def test_missing_secrets_and_special_files_are_all_reported(tmp_path: Path) -> None:
    assert [each.code for each in check_files(secret_config(tmp_path, ucarp=True))] == ["secret-unreadable"] * 2
    os.mkfifo(tmp_path / "key", 0o600)
    assert [each.code for each in check_files(secret_config(tmp_path))] == ["secret-unreadable"]


@pytest.mark.parametrize("content", [b"", b"\nlove\n", b"x" * 20, b"lo\0ve"])
def test_a_ucarp_password_has_1_to_19_bytes(tmp_path: Path, content: bytes) -> None:
    put(tmp_path / "key", KEY_LINE.encode())
    put(tmp_path / "ucarp", content)
    assert [each.code for each in check_files(secret_config(tmp_path, ucarp=True))] == ["ucarp-pass-bad"]


def test_a_file_that_cannot_be_read_is_a_report(tmp_path: Path) -> None:
    for path, code in (
        (tmp_path / "missing.toml", "config-unreadable"),
        (tmp_path, "config-unreadable"),
        (Path("/dev/zero"), "config-unreadable"),
    ):
        loaded = load(path)
        assert not isinstance(loaded, Loaded)
        assert [each.code for each in loaded] == [code]
    (tmp_path / "latin.toml").write_bytes(b"# \xe9\n")
    loaded = load(tmp_path / "latin.toml")
    assert not isinstance(loaded, Loaded)
    assert loaded[0].code == "config-not-toml"


def test_a_reload_applies_what_it_can_and_says_why_not_for_the_rest() -> None:
    old = valid(GOOD)
    new = valid(
        GOOD.replace("vhid = 10", "vhid = 11\npriority = 9").replace("[moosefs]", "[moosefs]\nhang_timeout_s = 20")
    )
    changes = reloadable_changes(old, new)
    assert changes.applied == ("cluster.priority", "moosefs.hang_timeout_s")
    assert [(each.code, each.key) for each in changes.refused] == [("reload-refused", "cluster.vhid")]
    assert reloadable_changes(old, old) == reloadable_changes(new, new)


def test_the_order_of_members_counts_as_a_change() -> None:
    swapped = GOOD.replace('meta1 = "192.0.2.11", meta2 = "192.0.2.12"', 'meta2 = "192.0.2.12", meta1 = "192.0.2.11"')
    changes = reloadable_changes(valid(GOOD), valid(swapped))
    assert [each.key for each in changes.refused] == ["cluster.members"]


def test_a_table_that_comes_or_goes_is_one_refusal() -> None:
    without = GOOD.partition("[http]")[0]
    changes = reloadable_changes(valid(without), valid(GOOD))
    assert (changes.applied, [each.key for each in changes.refused]) == ((), ["http"])


def test_every_key_is_either_reloadable_or_has_a_reason_why_not() -> None:
    keys = {f"{name}.{key}" for name, model in SECTIONS.items() for key in model.model_fields}
    assert keys == {key for key in RELOADABLE | set(REFUSALS) if "." in key}
    assert not RELOADABLE & set(REFUSALS)
