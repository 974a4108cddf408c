"""The wiring: the supervisor, the heartbeat and worker processes, and what they say to each other."""
