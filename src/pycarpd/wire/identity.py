"""Who a node is on the wire: a number made from its configured name.

The name is what operators write; 64 bits of its hash is what adverts carry, so that the format has fixed fields
and no two configurations have to agree on a numbering.
"""

import hashlib


def node_id_of(name: str) -> int:
    """Return the node id of *name*: the first 8 bytes of its UTF-8 SHA-256, big endian, never 0."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big") or 1
