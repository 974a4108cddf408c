"""Measurements, each a command of ``./benchmarks/run``: bounded in time, with medians and spread."""
