"""Programs that run beside mfsmaster and stop with it, such as mfscgiserv.

They are asked by ``NAME start`` and ``NAME stop``, or through their systemd unit where the host has it.
"""

from dataclasses import dataclass, field

from pycarpd.linux.process import run
from pycarpd.moosefs.faults import ServiceCode, ServiceFault
from pycarpd.moosefs.systemd import Unit

_UNITS = {"mfscgiserv": "moosefs-cgiserv.service", "mfsgui": "moosefs-gui.service"}
_SAID_MAX = 300


@dataclass(frozen=True, slots=True)
class Companion:
    """One program of ``also_start``; where systemd has its unit, systemd starts and stops it."""

    name: str
    unit: Unit = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "unit", Unit(_UNITS.get(self.name, f"{self.name}.service")))

    def start(self, timeout_s: float) -> ServiceFault | None:
        """Start it; running already is success, as mfscgiserv's own exit status has it."""
        return self.unit.start(timeout_s) if self.unit.is_loaded() else self._ask("start", timeout_s)

    def stop(self, timeout_s: float) -> ServiceFault | None:
        """Stop it; not running is success."""
        return self.unit.stop(timeout_s) if self.unit.is_loaded() else self._ask("stop", timeout_s)

    def _ask(self, verb: str, timeout_s: float) -> ServiceFault | None:
        completed = run([self.name, verb], timeout_s)
        if completed.is_success:
            return None
        said = (completed.stdout + completed.stderr).decode(errors="replace").strip()[-_SAID_MAX:]
        code = ServiceCode.REFUSED if verb == "start" else ServiceCode.NOT_STOPPED
        return ServiceFault(code, f"{self.name} {verb}: {said or completed.fault or completed.exit_status}")
