"""Pure array functions over histories: customers, products and pairs, as of a moment."""
