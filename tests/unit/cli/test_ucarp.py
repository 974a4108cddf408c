"""ucarp's command line: what its users write is understood, and a mistake is told with its rule."""

from pathlib import Path

import pytest

from pycarpd.cli.ucarp import parser, ucarp

NEEDED = ["-s", "192.0.2.11", "-v", "10", "-a", "192.0.2.100"]


def test_short_long_and_abbreviated_options_are_the_same() -> None:
    short = parser().parse_args([*NEEDED, "-b", "2", "-k50", "-r", "4", "-P", "-n", "-z", "-S", "-M", "-x", "eth"])
    switches = ["--preempt", "--neutral", "--shutdown", "--ignoreif", "--nomcast"]
    values = ["--srcip=192.0.2.11", "--vhid=10", "--addr", "192.0.2.100", "--advb=2", "--advskew=50", "--deadratio=4"]
    long = parser().parse_args([*values, *switches, "--xparam=eth"])
    assert short == long
    assert (short.advbase, short.advskew, short.deadratio, short.mcastip) == (2, 50, 4, "224.0.0.18")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["-v", "0"], "'0' is no number from 1 to 255"),
        (["-b", "256"], "'256' is no number from 0 to 255"),
        (["-b", "0", "-p", "x"], "--advbase 0 with --advskew 0"),
        (["-a", "2001:db8::1"], "'2001:db8::1' is no IPv4 address"),
        (["-u", "/nowhere"], "'/nowhere' is no file that can be run"),
        (["-f", "local9"], "'local9' is no syslog facility"),
        ([], "one of --pass and --passfile is needed"),
        (["-p", "x" * 20], "the password has 20 bytes: ucarp takes 1 to 19"),
        (["-o", "/nowhere"], "--passfile /nowhere: No such file or directory"),
    ],
)
def test_a_mistake_is_told_with_its_rule(words: list[str], told: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        ucarp([*NEEDED, "-i", "lo", *words])
    assert ended.value.code == 2
    assert told in capsys.readouterr().err


def test_a_relative_script_is_found_from_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = tmp_path / "up"
    script.touch(mode=0o755)
    monkeypatch.chdir(tmp_path)
    assert parser().parse_args([*NEEDED, "-u", "up"]).upscript == str(script)
