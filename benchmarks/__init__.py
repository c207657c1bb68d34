"""Measured claims: every script prints JSON and writes it to ``benchmarks/results``."""
