"""The bytes: CARP headers, the trailer, authentication and replay protection. Pure: no socket, clock or randomness."""
