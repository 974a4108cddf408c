"""The watchdog on a stand-in: a named pipe in the device's place, which keeps what is written, and a driver's answers.

No test machine has a watchdog to spare: what is shown is what is asked and written, not that a machine is reset.
"""

import errno
import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from pycarpd.linux.faults import SystemFault
from pycarpd.linux.watchdog import Watchdog

GET_SUPPORT, SET_TIMEOUT, GET_TIMEOUT = 0x80285700, 0xC0045706, 0x80045707
MAGIC_CLOSE = 0x0100


@dataclass
class Driver:
    """Answers as a watchdog driver does; ``fixed_s`` has a timeout that cannot be set."""

    options: int = MAGIC_CLOSE
    fixed_s: int | None = None
    is_watchdog: bool = True
    asked: list[int] = field(default_factory=list)

    def ioctl(self, _descriptor: int, request: int, argument: bytes) -> bytes:
        self.asked.append(request)
        if not self.is_watchdog:
            raise OSError(errno.ENOTTY, os.strerror(errno.ENOTTY))
        if request == GET_SUPPORT:
            return struct.pack("=II32s", self.options, 1, b"Stand-in")
        if request == SET_TIMEOUT and self.fixed_s is not None:
            raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))
        return argument if request == SET_TIMEOUT else struct.pack("=i", self.fixed_s or 0)


@dataclass
class Device:
    path: Path
    reader: int

    def written(self) -> bytes:
        try:
            return os.read(self.reader, 100)
        except BlockingIOError:
            return b""


@pytest.fixture
def device(tmp_path: Path) -> Iterator[Device]:
    path = tmp_path / "watchdog"
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    yield Device(path, reader)
    os.close(reader)


def armed(device: Device, driver: Driver, timeout_s: int = 10) -> Watchdog:
    watchdog = Watchdog.arm(str(device.path), timeout_s, driver.ioctl)
    assert isinstance(watchdog, Watchdog)
    return watchdog


def test_it_is_armed_fed_and_stopped_by_magic_close(device: Device) -> None:
    driver = Driver()
    watchdog = armed(device, driver)
    assert (watchdog.identity, watchdog.timeout_s) == ("Stand-in", 10)
    assert driver.asked == [GET_SUPPORT, SET_TIMEOUT]
    assert watchdog.feed() is None
    assert device.written() == b"\0"
    assert watchdog.stop() is None
    assert device.written() == b"V"


def test_a_fixed_timeout_is_taken_as_it_is(device: Device) -> None:
    driver = Driver(fixed_s=60)
    assert armed(device, driver).timeout_s == 60
    assert driver.asked == [GET_SUPPORT, SET_TIMEOUT, GET_TIMEOUT]


def test_what_is_no_watchdog_is_left_stopped(device: Device) -> None:
    found = Watchdog.arm(str(device.path), 10, Driver(is_watchdog=False).ioctl)
    assert isinstance(found, SystemFault)
    assert found.name == "ENOTTY"
    assert device.written() == b"V"


def test_a_real_file_is_no_watchdog(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.touch()
    found = Watchdog.arm(str(path), 10)
    assert isinstance(found, SystemFault)
    assert found.name == "ENOTTY"


def test_a_device_that_is_not_there_is_a_fault(tmp_path: Path) -> None:
    found = Watchdog.arm(str(tmp_path / "none"), 10)
    assert isinstance(found, SystemFault)
    assert found.name == "ENOENT"


def test_a_driver_that_cannot_be_stopped_says_so(device: Device) -> None:
    fault = armed(device, Driver(options=0)).stop()
    assert fault is not None
    assert fault.errno == errno.EOPNOTSUPP
