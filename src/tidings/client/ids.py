"""Ids that a client makes."""


def uuid7(unix_ms: int, random: int) -> str:
    """Return a UUIDv7 (RFC 9562 §5.7).

    Args:
        unix_ms: Milliseconds since 1970-01-01T00:00:00Z.
        random: At least 74 random bits; the lowest are taken.
    """
    high = random >> 62 & 0xFFF
    low = random & (1 << 62) - 1
    digits = f"{unix_ms & (1 << 48) - 1:012x}{0x7000 | high:04x}{1 << 63 | low:016x}"
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"
