"""The rehearsal: whole clusters in virtual time, their faults drawn from a seed, the rules checked after every event.

Nothing is mocked but the edge: each node is a real Elector with the real wire codec. Its worker, its kernel and the
network are simulated, so that a run of minutes takes a second and comes out the same each time.
"""
