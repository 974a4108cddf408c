"""The kernel: every system call of the daemon, with its faults as values. No policy lives here.

The heartbeat process uses clock, advert_socket, address, link, announce and realtime; the worker process uses process,
files, connections, tickle and gate; both use notify. Nothing here blocks longer than the bound that it names.
"""
