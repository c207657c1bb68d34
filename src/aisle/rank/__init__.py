"""From scores to lists a shop can use: candidates, rules, top-k, fallbacks."""
