"""Files to blocks: text first. Polars reads whole blocks; a careful reader takes those it cannot read exactly."""

from aisle.data.read.files import columns_of, lines_in, list_files, read_blocks, sample_of

__all__ = ["columns_of", "lines_in", "list_files", "read_blocks", "sample_of"]
