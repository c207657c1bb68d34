"""``aisle bench``: the published splits, our models on them, and what the figures prove. See ``docs/accuracy.md``."""
