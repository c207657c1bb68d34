"""Shops with a planted answer: a synthetic retailer whose true purchase probabilities are known.

Read the files in this order: ``shop`` (the settings), ``catalogue`` (products, prices, the calendar), ``people``
(who the customers are and what they like), ``shopping`` (what they then buy), ``chances`` (the same law, read as
probabilities: the oracle), ``export`` (files), ``dirt`` (planted faults), ``truth`` (reading the planted answer back).
"""

from aisle.data.synthetic.shop import Shop
from aisle.data.synthetic.truth import oracle, planted

__all__ = ["Shop", "oracle", "planted"]
