"""Automated failover for the MooseFS metadata master."""

__version__ = "0.1.0"
