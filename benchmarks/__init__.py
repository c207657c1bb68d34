"""Scripts that measure the library on real data; run one as ``python -m benchmarks.NAME``."""
