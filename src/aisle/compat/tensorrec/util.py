"""TensorRec's helpers: draws, made-up data, small odds and ends. Random ones follow ``numpy.random.seed``."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Generic, TypeVar, overload

import numpy as np
import scipy.sparse as sp
from torch import Tensor

from aisle.compat.tensorrec.inputs import matrices
from aisle.errors import UsageError
from aisle.types import Ints, Sparse

T = TypeVar("T")


def generator() -> np.random.Generator:
    """A generator that ``numpy.random.seed`` makes repeat."""
    return np.random.default_rng(np.random.randint(2**31))


def ring_sample(n_items: int, n_users: int, count: int, replace: bool, random: np.random.Generator) -> Ints:
    """(n_users, count) items drawn uniformly for each user, distinct within a user unless ``replace``.

    Without replacement each user walks ``count`` steps over one shuffled ring of all items, with a start and a stride
    of their own (a stride without common divisor visits each item once): all pairs of items are equally likely, at the
    cost of ``n_items + n_users · count``. One set for all users learns far slower, since it ranks few items a step.
    """
    if replace:
        return random.integers(0, n_items, (n_users, count))
    if count > n_items:
        raise UsageError(f"{count} distinct items asked of {n_items}; ask fewer, or draw with replace=True")
    ring = random.permutation(n_items)
    strides = np.arange(1, n_items + 1)
    stride = random.choice(strides[np.gcd(strides, n_items) == 1], n_users)
    start = random.integers(0, n_items, n_users)
    drawn: Ints = ring[(start[:, None] + stride[:, None] * np.arange(count)) % n_items]
    return drawn


def sample_items(n_items: int, n_users: int, n_sampled_items: int, replace: bool) -> Ints:
    """(n_users * n_sampled_items, 2) pairs of user and drawn item, users rising."""
    drawn = ring_sample(int(n_items), int(n_users), int(n_sampled_items), replace, generator())
    users = np.repeat(np.arange(n_users, dtype=np.int64), n_sampled_items)
    return np.stack((users, drawn.ravel()), axis=1)


def calculate_batched_alpha(num_batches: int, alpha: float) -> float:
    """``alpha / (e · ln num_batches)``, as TensorRec weakens L2 in batches; ``fit`` here does not use it."""
    if num_batches < 1:
        raise UsageError(f"num_batches is {num_batches}; it must be 1 or more")
    return alpha if num_batches == 1 else alpha / math.e / math.log(num_batches)


def datasets_from_raw_input(raw_input: Any) -> list[Sparse]:
    """The matrices of an input, one a batch."""
    return matrices(raw_input)


def generate_dummy_data(
    num_users: int = 15000,
    num_items: int = 30000,
    interaction_density: float = 0.00045,
    num_user_features: int = 200,
    num_item_features: int = 200,
    n_features_per_user: int = 20,
    n_features_per_item: int = 20,
    pos_int_ratio: float = 0.5,
    return_datasets: bool = False,
) -> tuple[Any, Any, Any]:
    """Random interactions, user features and item features; nothing can be learnt from them."""
    if not 0 < pos_int_ratio <= 1:
        raise UsageError(f"pos_int_ratio is {pos_int_ratio}; allowed: 0 < pos_int_ratio <= 1")
    random = generator()

    def noise(shape: tuple[int, int], density: float) -> Any:
        return sp.random(*shape, density=min(density, 1.0), random_state=random, dtype=np.float64)

    shape = (num_users, num_items)
    interactions = noise(shape, interaction_density * pos_int_ratio)
    if pos_int_ratio < 1:
        interactions = interactions - noise(shape, interaction_density * (1 - pos_int_ratio))
    users = noise((num_users, num_user_features), n_features_per_user / num_user_features)
    items = noise((num_items, num_item_features), n_features_per_item / num_item_features)
    if return_datasets:
        return tuple(matrices([interactions, users, items]))  # type: ignore[return-value]
    return interactions, users, items


def generate_dummy_data_with_indicator(
    num_users: int = 15000, num_items: int = 30000, interaction_density: float = 0.00045, pos_int_ratio: float = 0.5
) -> tuple[Any, Any, Any]:
    """Random interactions of 1 and -1; features are an indicator of each row and some three random tags."""
    random = generator()
    wanted = num_users * num_items * interaction_density
    values = np.repeat([1.0, -1.0], [int(wanted * pos_int_ratio), int(wanted * (1 - pos_int_ratio))])
    cells = random.integers(0, num_users, len(values)), random.integers(0, num_items, len(values))
    pairs = dict(zip(zip(*(axis.tolist() for axis in cells), strict=True), values.tolist(), strict=True))  # last wins
    rows, columns = (np.array([pair[axis] for pair in pairs], dtype=np.int64) for axis in (0, 1))
    interactions = sp.csr_matrix((np.array(list(pairs.values())), (rows, columns)), shape=(num_users, num_items))
    return interactions.tolil(), _tagged(num_users, random), _tagged(num_items, random)


def _tagged(size: int, random: np.random.Generator) -> Any:
    """(size, 1.2 size): the identity, then random tags."""
    width = int(size * 1.2)
    found = sp.lil_matrix((size, width))
    found[np.arange(size), np.arange(size)] = 1
    if width > size:
        found[random.integers(0, size, 3 * size), random.integers(size, width, 3 * size)] = 1
    return found


def append_to_string_at_point(string: str, value: object, point: int) -> str:
    """``value`` behind ``string``, from column ``point`` on."""
    return f"{string:<{max(point, 0)}}{value}"


def simple_tf_print(tensor: Tensor, places: int = 100) -> Tensor:
    """Print up to ``places`` values of a torch tensor and its shape, and give it back."""
    print(tensor.detach().flatten()[:places].tolist(), list(tensor.shape))
    return tensor


class lazyval(Generic[T]):
    """A read-only attribute that is computed when first read and then kept in its object."""

    def __init__(self, get: Callable[[Any], T]) -> None:
        self._get = get
        self._place = f"_lazy_{getattr(get, '__name__', id(self))}"

    @overload
    def __get__(self, instance: None, owner: type) -> lazyval[T]: ...
    @overload
    def __get__(self, instance: object, owner: type) -> T: ...
    def __get__(self, instance: object | None, owner: type) -> T | lazyval[T]:
        if instance is None:
            return self
        kept: dict[str, T] = vars(instance)
        if self._place not in kept:
            kept[self._place] = self._get(instance)
        return kept[self._place]

    def __set__(self, instance: object, value: object) -> None:
        raise AttributeError("a lazyval is read-only")

    def __delete__(self, instance: object) -> None:
        vars(instance).pop(self._place, None)
