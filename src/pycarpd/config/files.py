"""The files a configuration names; the secret ones are read once, by descriptor, and judged before their use."""

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from pycarpd.config.schema import Config
from pycarpd.control.reports import Report, report
from pycarpd.wire.keys import KeyFault, KeyRing

SECRET_MODES = (0o600, 0o400)
SECRET_BYTES_MAX = 65_536
UCARP_PASSWORD_BYTES_MAX = 19
"""ucarp copies the password into a 20 byte field that ends with a zero byte."""


@dataclass(frozen=True, slots=True)
class Secrets:
    """What the secret files hold: the key ring's text, and ucarp's password where the cluster is not strict."""

    key_text: str = field(repr=False)
    ucarp_password: bytes | None = field(repr=False)
    etcd_password: str = field(default="", repr=False)


def check_files(config: Config) -> tuple[Report, ...]:
    """Return every problem of the files that *config* names; an empty tuple when all are sound."""
    secrets = read_secrets(config)
    return (*(secrets if isinstance(secrets, tuple) else ()), *_fence_command(config.cluster.fence_command))


def _fence_command(command: tuple[str, ...]) -> Iterator[Report]:
    if command and not (command[0].startswith("/") and Path(command[0]).is_file() and os.access(command[0], os.X_OK)):
        rule = "begins with the absolute path of a program that this host can run"
        yield report("fence-command", f"{command[0]} cannot be run", key="cluster.fence_command", rule=rule)


def read_secrets(config: Config) -> Secrets | tuple[Report, ...]:
    """Return the secrets, or every problem of the files that should hold them."""
    key_text = _key_text(Path(config.cluster.key_file))
    pass_file = config.cluster.ucarp_pass_file
    password = _ucarp_password(Path(pass_file)) if pass_file is not None else None
    etcd_file = config.etcd.password_file if config.etcd is not None else None
    etcd_password = _etcd_password(Path(etcd_file)) if etcd_file is not None else ""
    parts = (key_text, password, etcd_password)
    if isinstance(key_text, tuple) or isinstance(password, tuple) or isinstance(etcd_password, tuple):
        return tuple(each for part in parts if isinstance(part, tuple) for each in part)
    return Secrets(key_text, password, etcd_password)


def _key_text(path: Path) -> str | tuple[Report, ...]:
    content = _read_secret(path, "cluster.key_file")
    if isinstance(content, tuple):
        return content
    try:
        text = content.decode("ascii")
    except UnicodeDecodeError:
        return (_bad_key(path, "it is not ASCII text"),)
    ring = KeyRing.parse(text)
    if isinstance(ring, KeyFault):
        return (_bad_key(path, f"line {ring.line}: {ring.rule}"),)
    return text


def _bad_key(path: Path, rule: str) -> Report:
    # The value is left out on purpose: a report may be logged, a key may not.
    return report("key-file-bad", f"{path} holds no usable key", key="cluster.key_file", rule=rule)


def _ucarp_password(path: Path) -> bytes | tuple[Report, ...]:
    content = _read_secret(path, "cluster.ucarp_pass_file")
    if isinstance(content, tuple):
        return content
    password = content.split(b"\n", 1)[0].removesuffix(b"\r")
    if not 1 <= len(password) <= UCARP_PASSWORD_BYTES_MAX or b"\0" in password:
        rule = f"the first line has 1 to {UCARP_PASSWORD_BYTES_MAX} bytes"
        message = f"{path} holds no password that ucarp would take"
        return (report("ucarp-pass-bad", message, key="cluster.ucarp_pass_file", rule=rule),)
    return password


def _etcd_password(path: Path) -> str | tuple[Report, ...]:
    content = _read_secret(path, "etcd.password_file")
    if isinstance(content, tuple):
        return content
    try:
        return content.decode().split("\n", 1)[0].removesuffix("\r")
    except UnicodeDecodeError:
        message = f"{path} holds no text"
        return (report("etcd-password-bad", message, key="etcd.password_file", rule="the first line is UTF-8 text"),)


def _read_secret(path: Path, key: str) -> bytes | tuple[Report, ...]:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        return (report("secret-unreadable", f"{path}: {error.strerror}", key=key, value=path),)
    with os.fdopen(descriptor, "rb") as file:
        found = os.fstat(descriptor)
        reports = _ownership_reports(path, key, found)
        if not stat.S_ISREG(found.st_mode):
            return reports
        content = file.read(SECRET_BYTES_MAX)
    return reports or content


def _ownership_reports(path: Path, key: str, found: os.stat_result) -> tuple[Report, ...]:
    if not stat.S_ISREG(found.st_mode):
        return (report("secret-unreadable", f"{path} is no regular file", key=key, value=path),)
    reports = []
    mode = stat.S_IMODE(found.st_mode)
    if mode not in SECRET_MODES:
        message = f"{path} has mode {mode:04o}"
        reports.append(report("secret-mode", message, key=key, value=f"{mode:04o}", rule="mode 0600 or 0400"))
    if found.st_uid != 0:
        message = f"{path} belongs to user id {found.st_uid}"
        reports.append(report("secret-owner", message, key=key, value=found.st_uid, rule="the owner is root"))
    return tuple(reports)
