"""ContentKNN: vectors that keep the cosines of the catalogue, products without sales, and shops that say nothing."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import numpy as np
import polars as pl
import pytest

from aisle.data.dataset import Dataset
from aisle.data.entities import Entities
from aisle.data.schema import CleanTables
from aisle.errors import UsageError
from aisle.features.content import content_matrix, content_vectors
from aisle.models.content_knn import ContentKNN
from tests.oracle.loops import check, data, everyone, naive_counts, naive_popularity
from tests.oracle.shops import asked, shop


def catalogue(**columns: list[str | float | None]) -> Dataset:
    """Customer a bought the first product yesterday, customer b the second; the others were never sold."""
    ids = list("pqrstuvw")[: len(next(iter(columns.values())))]
    start = datetime(2024, 1, 1)
    lines = pl.DataFrame(
        {
            "customer_id": ["a", "b"],
            "product_id": ids[:2],
            "timestamp": [start, start + timedelta(hours=1)],
            "quantity": [1.0, 1.0],
        },
        schema_overrides={"timestamp": pl.Datetime("us")},
    )
    products = pl.DataFrame({"product_id": ids, **columns})
    return Dataset.of(CleanTables(lines, products, pl.DataFrame({"customer_id": ["a", "b"]})))


def test_products_nobody_bought_are_found_by_their_names_and_their_place_in_the_tree() -> None:
    dataset = catalogue(
        name=["Green tea bags", "Steel hammer", "Green tea loose", "Claw hammer", "Milk"],
        category_1=["Food", "Tools", "Food", "Tools", "Food"],
    )
    scores = ContentKNN().fit(dataset).score(asked(dataset, "ab"))
    scores[:, :2] = -np.inf  # what was sold
    assert scores.argmax(axis=1).tolist() == [2, 3]
    assert scores[0, 4] > scores[0, 3], "milk is food as tea is"


def test_full_vectors_keep_every_cosine_of_the_matrix() -> None:
    dataset = data()
    x = content_matrix(dataset.products, dataset.known)
    np.testing.assert_allclose(x.multiply(x).sum(axis=1), 1, rtol=1e-5)
    vectors = content_vectors(x, dataset.known, 1000, 0).astype(np.float64)
    exact = (x @ x.T).toarray()
    assert np.abs(vectors @ vectors.T - exact).max() < 0.1, "one direction of forty is left out"
    assert np.corrcoef((vectors @ vectors.T).ravel(), exact.ravel())[0, 1] > 0.999


def test_the_matrix_by_hand() -> None:
    dataset = catalogue(category_1=["A", "A", "B"], brand=["x", None, "x"])
    known = np.ones(3, dtype=bool)
    x = content_matrix(dataset.products, known).toarray()
    half = np.sqrt(0.5)  # two blocks of the same weight where a product has both
    a, b, brand = x[0].nonzero()[0][0], x[2].nonzero()[0][0], x[0].nonzero()[0][1]
    np.testing.assert_allclose(x[:, a], [half, 1, 0], rtol=1e-6)
    np.testing.assert_allclose(x[:, b], [0, 0, half], rtol=1e-6)
    np.testing.assert_allclose(x[:, brand], [half, 0, half], rtol=1e-6)


def test_the_score_is_the_cosine_to_the_decayed_history() -> None:
    dataset = data()
    model = ContentKNN(half_life_days=40.0, popular_weight=0.3, own_weight=2.0, dim=7).fit(dataset)
    vectors, counts = model.vectors_.astype(np.float64), naive_counts(dataset, 40.0)
    mean = counts @ vectors
    taste = mean / np.maximum(np.linalg.norm(mean, axis=1, keepdims=True), 1e-12)
    sold = naive_popularity(dataset)
    expected = taste @ vectors.T + 0.3 * sold / (sold.max() + 1) + 2.0 * counts
    check(model.score(everyone(dataset)), expected, dataset)
    assert vectors.shape[1] == 7


def test_prices_alike_are_alike() -> None:
    dataset = catalogue(price=[1.0, 90.0, 1.1, 95.0, 1.2, 99.0])
    scores = ContentKNN(popular_weight=0.0).fit(dataset).score(asked(dataset, "a"))[0]
    assert np.isfinite(scores).all()
    assert scores[0] == scores.max()


def test_a_shop_that_says_nothing_of_its_products_is_refused() -> None:
    bare = shop({"a": ["xy"], "b": ["z"]})
    with pytest.raises(UsageError, match="names, categories or attributes"):
        ContentKNN().fit(bare)
    same = replace(data(), products=Entities(data().products.vocab))
    with pytest.raises(UsageError, match="this data has none"):
        ContentKNN().fit(same)


@pytest.mark.parametrize("wrong", [{"dim": 0}, {"half_life_days": 0.0}, {"popular_weight": -1.0}, {"own_weight": -1.0}])
def test_settings_out_of_range_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(UsageError, match=next(iter(wrong))):
        ContentKNN(**wrong)  # type: ignore[arg-type]


def test_tags_count_one_by_one() -> None:
    """Films that share one of two tags are alike by it; as whole values they would share nothing."""
    films = pl.DataFrame(
        {"product_id": ["a", "b", "c", "d"], "genres": ["war|love", "love|crime", "crime|war", "myth|sea"]}
    )
    lines = pl.DataFrame(
        {"customer_id": ["x"] * 4, "product_id": ["a", "b", "c", "d"], "sequence": [1, 2, 3, 4], "quantity": [1.0] * 4}
    )
    data = Dataset.of(CleanTables(lines, films, pl.DataFrame({"customer_id": ["x"]})))
    near = content_matrix(data.products, np.ones(4, dtype=bool)).toarray()
    cosines = near @ near.T
    assert cosines[:3, :3][~np.eye(3, dtype=bool)] == pytest.approx(0.5)
    assert cosines[3, :3] == pytest.approx(0.0)
