"""The README's installation, in a directory of the test's own instead of /opt and /usr/local."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def run(*command: str | Path) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.timeout(300)
def test_the_installed_commands_work_outside_the_checkout(tmp_path: Path) -> None:
    home, links = tmp_path / "pycarpd", tmp_path / "bin"
    links.mkdir()
    run(sys.executable, "-m", "venv", home)
    run(home / "bin" / "pip", "install", "--quiet", "--disable-pip-version-check", ".")
    for name in ("pycarpd", "pycarpctl"):
        (links / name).symlink_to(home / "bin" / name)
        assert "EXIT STATUS" in run(links / name, "--help")
    unit = run(links / "pycarpd", "systemd-unit")
    assert "ExecStart=" in unit
    assert "KillMode=process" in unit
    where = run(home / "bin" / "python", "-c", "import pycarpd; print(pycarpd.__file__)")
    assert Path(where.strip()).is_relative_to(home)
