"""The settings' JSON form is lossless, and nothing else is taken for it."""

import json
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pycarpd.election.model import Arbiter, Member, TieBreak
from pycarpd.election.settings import ElectionSettings
from pycarpd.invariant import InvariantError
from pycarpd.settings import DaemonSettings, MoosefsSettings

U64 = st.integers(min_value=0, max_value=2**64 - 1)
POSITIVE = st.integers(min_value=1, max_value=2**62)
TEXT = st.text(max_size=40)

MEMBERS = st.builds(Member, U64, TEXT, st.binary(min_size=4, max_size=16), st.booleans())
ELECTIONS = st.builds(
    ElectionSettings,
    node_id=U64,
    members=st.lists(MEMBERS, max_size=16).map(tuple),
    interval_ns=POSITIVE,
    missed_adverts=POSITIVE,
    priority=POSITIVE,
    preempt=st.booleans(),
    arbiter=st.sampled_from(Arbiter),
    strict=st.booleans(),
    tie_break=st.sampled_from(TieBreak),
    advbase=POSITIVE,
    config_digest=U64,
    demotion_half_life_ns=POSITIVE,
    hold_max_ns=POSITIVE,
    late_wake_ns=POSITIVE,
    speculates=st.booleans(),
)
MOOSEFS = st.builds(
    MoosefsSettings,
    data_path=TEXT,
    master_config=TEXT,
    metalogger_config=TEXT,
    also_start=st.lists(TEXT, max_size=4).map(tuple),
    start_timeout_s=POSITIVE,
    hang_timeout_s=POSITIVE,
    expected_metaid=st.none() | U64,
    archive_keep_count=POSITIVE,
    archive_keep_bytes=st.none() | POSITIVE,
    drill_interval_s=POSITIVE,
    huge_pages=st.booleans(),
)
DAEMONS = st.builds(
    DaemonSettings,
    node_name=TEXT,
    state_dir=TEXT,
    run_dir=TEXT,
    interface=TEXT,
    own_address=TEXT,
    vhid=POSITIVE,
    virtual_addresses=st.lists(TEXT, max_size=4).map(tuple),
    profile=TEXT,
    realtime=st.booleans(),
    unicast=st.booleans(),
    election=ELECTIONS,
    moosefs=st.none() | MOOSEFS,
    http_host=st.none() | TEXT,
    http_port=st.none() | POSITIVE,
    key_text=TEXT,
    ucarp_password=st.none() | st.binary(max_size=19),
)


@given(DAEMONS)
@settings(max_examples=200, derandomize=True, deadline=None)
def test_settings_survive_their_json_form(value: DaemonSettings) -> None:
    text = value.to_json()
    assert "\n" not in text
    assert DaemonSettings.from_json(text) == value


@given(DAEMONS, st.data())
@settings(max_examples=50, derandomize=True, deadline=None)
def test_a_document_with_a_field_missing_or_of_another_type_is_refused(
    value: DaemonSettings, data: st.DataObject
) -> None:
    document = json.loads(value.to_json())
    name = data.draw(st.sampled_from(["node_name", "vhid", "realtime"]))
    broken = dict(document["settings"])
    if data.draw(st.booleans()):
        del broken[name]
    else:
        broken[name] = 1.5
    with pytest.raises(InvariantError):
        DaemonSettings.from_json(json.dumps(document | {"settings": broken}))
    with pytest.raises(InvariantError):
        DaemonSettings.from_json(json.dumps(document | {"version": 0}))


def test_the_settings_need_nothing_but_the_standard_library() -> None:
    program = (
        "import sys, pycarpd.settings; "
        "print([name for name in ('pydantic', 'aiohttp', 'typer', 'rich', 'asyncio') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=True)
    assert done.stdout.strip() == "[]"
