"""Which of two hosts has the newer metadata: ordered by lineage first, by version within one.

A lineage is the term of a mastership. The file system that was served in it went on from the version at which it was
promoted; what an older master has written beyond that version was given up, whatever number it has. So of two hosts
the one whose files were written or followed in the newer term is the fresher, and only within one lineage do versions
compare. A version of pycarpd that does not tell its lineage is compared by the version alone, as it compares itself.
"""

from pycarpd.election.model import Freshness


def is_newer(one: Freshness, other: Freshness) -> bool:
    """Tell whether *one* is newer metadata of the same file system than *other*."""
    return one.metaid == other.metaid and _is_beyond(one, other)


def is_at_least(one: Freshness, other: Freshness) -> bool:
    """Tell whether *one* is of the same file system as *other*, and as new at least."""
    return one.metaid == other.metaid and not _is_beyond(other, one)


def _is_beyond(one: Freshness, other: Freshness) -> bool:
    if one.lineage is None or other.lineage is None:
        return one.version > other.version
    return (one.lineage, one.version) > (other.lineage, other.version)
