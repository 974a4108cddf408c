"""The commands: ``pycarpd`` starts, checks and prepares a host, ``pycarpctl`` talks to the running daemon."""
