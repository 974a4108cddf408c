"""The Internet checksum (RFC 1071)."""


def internet_checksum(data: bytes) -> int:
    """Return the one's complement of the one's complement sum of *data* in 16-bit words, zero-padded."""
    padded = data + b"\0" * (len(data) % 2)
    total = sum(int.from_bytes(padded[i : i + 2], "big") for i in range(0, len(padded), 2))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF
