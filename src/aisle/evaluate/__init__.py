"""Honest measurement: metrics, protocol, intervals, certificate."""
