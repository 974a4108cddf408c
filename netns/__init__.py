"""The laboratory: hosts as network namespaces, a real MooseFS, pycarpd, faults by name, captures and timelines.

It is for people (``./netns/lab``, ``./netns/demo``), tests and benchmarks alike. It drives pycarpd only through
its commands and looks at the outcome from outside: from the wire, from netlink and from what a client could write.
"""
