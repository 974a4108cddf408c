"""Each script in scripts/ is performed and must give what is written there; ``pytest --record`` writes it anew."""

from pathlib import Path

import pytest

from pycarpd.sim.script import ScriptError, perform

SCRIPTS = sorted((Path(__file__).parent / "scripts").glob("*.txt"))


@pytest.mark.parametrize("path", SCRIPTS, ids=[path.stem for path in SCRIPTS])
def test_a_transcript_is_what_happens(path: Path, pytestconfig: pytest.Config) -> None:
    written = path.read_text(encoding="utf-8")
    happened = perform(written)
    if pytestconfig.getoption("--record"):
        path.write_text(happened, encoding="utf-8")
        return
    assert happened == written


def test_a_performance_depends_on_nothing_but_its_script() -> None:
    script = SCRIPTS[0].read_text(encoding="utf-8")
    assert perform(script) == perform(script)


@pytest.mark.parametrize("script", ["fly\n", "run 1\n", "nodes 2\nstart meta9\n"])
def test_a_script_with_a_mistake_is_refused(script: str) -> None:
    with pytest.raises(ScriptError):
        perform(script)
