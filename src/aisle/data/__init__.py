"""From files to a Dataset: read, map, check, clean, and hold as of a moment."""
