"""Torch parts that several models share: losses, sampling, features, histories, training windows, the one loop."""
