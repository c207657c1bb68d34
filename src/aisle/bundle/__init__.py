"""A fitted recommender as a folder: products and weights under one manifest, customers under another; no pickle."""

from aisle.bundle.recommender import RECOMMENDATIONS, Recommender
from aisle.bundle.store import load, save

__all__ = ["RECOMMENDATIONS", "Recommender", "load", "save"]
