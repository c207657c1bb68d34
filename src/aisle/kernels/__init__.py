"""Numeric kernels that know nothing of retail: exact top-k, sparse blocks."""
