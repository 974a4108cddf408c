"""The counter: the control API on a Unix socket, its models, coded reports, history and metrics."""
