"""aisle: from a retailer's raw files to honest recommendations."""
