"""Array aliases, and the letters of the axes used in every docstring.

U customers · I products · E event lines · B customers of a batch · N rows of a list or pair table · K list length
D vector width · F features · T tastes or time steps · L levels of a tree
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

Floats: TypeAlias = npt.NDArray[np.float32]
Doubles: TypeAlias = npt.NDArray[np.float64]
Shorts: TypeAlias = npt.NDArray[np.int16]
Codes: TypeAlias = npt.NDArray[np.int32]
Ints: TypeAlias = npt.NDArray[np.int64]
Times: TypeAlias = npt.NDArray[np.int64]
"""Microseconds since 1970-01-01 UTC; under a sequence clock, baskets counted back from each customer's last."""
Bools: TypeAlias = npt.NDArray[np.bool_]
Sparse: TypeAlias = "sp.csr_array[np.float32]"
"""A SciPy CSR array; rows are always customers unless a docstring says otherwise."""
CSR_PARTS = ("data", "indices", "indptr", "shape")
"""What such an array is stored as."""

Clock: TypeAlias = Literal["time", "sequence"]
Repeats: TypeAlias = Literal["mixed", "new", "only"]
"""Repeat policy: products bought before may be listed, must not be listed, or alone are listed."""
Variants: TypeAlias = Literal["one", "all"]
"""A list holds one variant of a product (size, colour) at most, or whatever scores best."""

Searching: TypeAlias = Literal["exact", "auto"]
"""The best products are all found, or an index of measured recall may be asked where there is much to search."""

UNKNOWN = -1
"""The code of whatever is not in a vocabulary: an anonymous customer, a missing category."""
NEVER = np.iinfo(np.int64).max
"""A moment after every other."""
DAY = 86_400_000_000
"""Microseconds in a day."""
