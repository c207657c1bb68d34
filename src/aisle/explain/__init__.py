"""Why this product: evidence and words."""
