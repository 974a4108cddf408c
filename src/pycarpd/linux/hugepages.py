"""The kernel's policy on transparent huge pages, which decides how long a program waits for its first memory.

A page fault for every 4 KiB is what a program pays that fills hundreds of megabytes at its start, one for every 2 MiB
where it gets huge pages. One that does not ask for them (madvise) gets them only by the policy "always", which is the
whole kernel's (Documentation/admin-guide/mm/transhuge.rst).
"""

import re
from pathlib import Path

from pycarpd.linux.realtime import Degradation

POLICY_FILE = Path("/sys/kernel/mm/transparent_hugepage/enabled")
ALWAYS = "always"
_CHOSEN = re.compile(r"\[(\w+)\]")


def huge_page_policy(file: Path = POLICY_FILE) -> str | None:
    """Return "always", "madvise" or "never"; None where the kernel has no huge pages or does not say."""
    try:
        chosen = _CHOSEN.search(file.read_text(encoding="ascii"))
    except OSError:
        return None
    return chosen[1] if chosen else None


def allow_huge_pages(file: Path = POLICY_FILE) -> Degradation | None:
    """Let every program of this machine have huge pages from now on, until the next boot; success if so already."""
    if huge_page_policy(file) == ALWAYS:
        return None
    try:
        file.write_text(ALWAYS, encoding="ascii")
    except OSError as refusal:
        return Degradation(
            "no-huge-pages",
            f"mfsmaster takes longer to load its metadata ({file}: {refusal.strerror})",
            "let this host's own start write `always` to it, or set [moosefs] huge_pages = false",
        )
    return None
