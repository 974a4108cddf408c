from pathlib import Path

import pytest

from pycarpd.moosefs.config import ConfigFaultCode, MfsConfig, read_mfs_config


def read(directory: Path, text: str) -> MfsConfig:
    path = directory / "mfsmaster.cfg"
    path.write_text(text)
    found = read_mfs_config(path)
    assert isinstance(found, MfsConfig), found
    return found


def faults(directory: Path, text: str) -> list[tuple[ConfigFaultCode, int]]:
    path = directory / "mfsmaster.cfg"
    path.write_text(text)
    found = read_mfs_config(path)
    assert not isinstance(found, MfsConfig)
    return [(fault.code, fault.line) for fault in found]


def test_an_empty_file_means_the_defaults_of_debians_build(tmp_path: Path) -> None:
    config = read(tmp_path, "")
    assert config.data_path == Path("/var/lib/mfs")
    assert (config.working_user, config.working_group) == ("mfs", "")
    assert (config.matoml_listen_port, config.matocs_listen_port, config.matocl_listen_port) == (9419, 9420, 9421)
    assert (config.master_host, config.master_port) == ("mfsmaster", 9419)
    assert (config.download_hours, config.back_logs) == (24, 50)
    assert config.defined == ()


@pytest.mark.parametrize(
    "line",
    [
        "DATA_PATH = /srv/a b",
        "DATA_PATH=/srv/a b",
        "\t DATA_PATH \t=\t /srv/a b  \n",
        "DATA_PATH = /srv/a b\r\n",
        "DATA_PATH = /old\nDATA_PATH = /srv/a b",
        "# DATA_PATH = /comment\nDATA_PATH = /srv/a b\n#DATA_PATH = /later",
        "   \n\nDATA_PATH = /srv/a b\tleft out",
    ],
)
def test_a_definition_is_read_as_mfsmaster_reads_it(tmp_path: Path, line: str) -> None:
    assert read(tmp_path, line).data_path == Path("/srv/a b")


def test_a_comment_sign_behind_a_value_belongs_to_the_value(tmp_path: Path) -> None:
    assert read(tmp_path, "WORKING_USER = mfs # the user").working_user == "mfs # the user"


@pytest.mark.parametrize(("text", "port"), [("9500", 9500), ("0x2537", 9527), ("010", 8), ("0", 0)])
def test_numbers_have_the_bases_of_strtoul(tmp_path: Path, text: str, port: int) -> None:
    assert read(tmp_path, f"MATOCL_LISTEN_PORT = {text}").matocl_listen_port == port


def test_every_fault_is_named_at_once_with_its_line(tmp_path: Path) -> None:
    text = "DATA_PATH\nBACK_LOGS = many\n# fine\n= 3\nMASTER_PORT = 70000\n"
    assert faults(tmp_path, text) == [
        (ConfigFaultCode.BAD_LINE, 1),
        (ConfigFaultCode.BAD_LINE, 4),
        (ConfigFaultCode.BAD_VALUE, 5),
        (ConfigFaultCode.BAD_VALUE, 2),
    ]


def test_a_file_that_cannot_be_read_is_a_fault(tmp_path: Path) -> None:
    found = read_mfs_config(tmp_path)
    assert not isinstance(found, MfsConfig)
    assert [fault.code for fault in found] == [ConfigFaultCode.UNREADABLE]


def test_settings_that_are_not_known_here_are_kept(tmp_path: Path) -> None:
    assert ("CHANGELOG_SAVE_MODE", "2") in read(tmp_path, "CHANGELOG_SAVE_MODE = 2").defined
