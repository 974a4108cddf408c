"""The configuration: a TOML file becomes frozen settings, or every reason why it cannot.

``load`` judges syntax and rules without looking at the host; ``read_secrets`` and ``check_files`` look at the
secret files it names; ``daemon_settings`` turns the whole into what the processes are told. Faults are the
operator's and come back as reports, never as exceptions.
"""

from pycarpd.config.build import (
    DerivedTimes,
    advert_interval_ms,
    config_digest,
    daemon_settings,
    derived_times,
    election_settings,
    missed_adverts,
    moosefs_settings,
    priority_of,
)
from pycarpd.config.files import Secrets, check_files, read_secrets
from pycarpd.config.load import Loaded, load, loads
from pycarpd.config.reload import ReloadChanges, reloadable_changes
from pycarpd.config.schema import Config

DEFAULT_PATH = "/etc/pycarpd/pycarpd.toml"

__all__ = [
    "DEFAULT_PATH",
    "Config",
    "DerivedTimes",
    "Loaded",
    "ReloadChanges",
    "Secrets",
    "advert_interval_ms",
    "check_files",
    "config_digest",
    "daemon_settings",
    "derived_times",
    "election_settings",
    "load",
    "loads",
    "missed_adverts",
    "moosefs_settings",
    "priority_of",
    "read_secrets",
    "reloadable_changes",
]
