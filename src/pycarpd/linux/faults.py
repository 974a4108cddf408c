"""The one shape in which a refused system call leaves this room: a value, never an exception."""

import errno
import os
from dataclasses import dataclass
from typing import Self


@dataclass(frozen=True, slots=True)
class SystemFault:
    """What was attempted, the kernel's error number, and its words for it."""

    operation: str
    errno: int
    detail: str

    @classmethod
    def of(cls, operation: str, error: OSError) -> Self:
        """Describe *error*, met while doing *operation*."""
        number = error.errno or 0
        return cls(operation, number, error.strerror or str(error))

    @classmethod
    def numbered(cls, operation: str, number: int, detail: str = "") -> Self:
        """Describe error *number*, with the kernel's own *detail* where it gave one."""
        return cls(operation, number, detail or os.strerror(number))

    @property
    def name(self) -> str:
        """Return the symbolic error name, such as ENODEV."""
        return errno.errorcode.get(self.errno, str(self.errno))

    def __str__(self) -> str:
        return f"{self.operation}: {self.name} ({self.detail})"
