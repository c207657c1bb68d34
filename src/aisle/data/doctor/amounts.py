"""Money of a line: signs, totals, and amounts that must be computed; adjustments and non-products."""

from __future__ import annotations

import numpy as np
import polars as pl

from aisle.data.doctor.codes import Issue
from aisle.types import Bools, Doubles

POLICIES = ("", "NOT_PRODUCT", "QTY_ZERO", "PRICE_NOT_POSITIVE", "SIGN_MISMATCH")
"""Verdicts on what a line means, by their number in ``_policy``; applied after double orders are set aside."""
BLAME = ("", "product_id", "quantity", "price", "amount")
CENT = 0.011
RELATIVE = 0.005


def check_amounts(columns: dict[str, pl.Series], product_pattern: str | None) -> tuple[np.ndarray, list[Issue]]:
    """(N,) the policy number of each line, and issues that can be judged at once; fills ``columns["amount"]``.

    The house formula is ``amount = sign(quantity) · (|quantity · price| + tax)``, which also holds where the source
    writes returns with negative quantity *and* price.
    """
    quantity = columns["quantity"].fill_null(np.nan).to_numpy()
    price, tax, amount = (_values(columns.get(name), quantity) for name in ("price", "tax", "amount"))
    policy = np.zeros(len(quantity), dtype=np.uint8)
    with np.errstate(invalid="ignore"):
        returned = (quantity < 0) & (price < 0) & ~(amount > 0)
        policy[(quantity * amount) < 0] = 4
        policy[(price <= 0) & ~returned] = 3
        policy[quantity == 0] = 2
        if product_pattern is not None:
            policy[_foreign(columns["product_id"], product_pattern)] = 1
        goods = np.abs(quantity * price)
        full = goods + np.abs(np.nan_to_num(tax))
        derived = np.sign(quantity) * full
        missing = np.isnan(amount) & ~np.isnan(derived)
        issues = [*_fractions(quantity)]
        if missing.any():
            issues.append(Issue("AMOUNT_DERIVED", missing, "amount"))
        off = _differs(np.abs(amount), full) & _differs(np.abs(amount), goods) & (policy == 0)
        discount = _values(columns.get("discount"), quantity)
        off &= np.isnan(discount) | _differs(np.abs(amount), full - np.abs(discount))
        if off.any():
            issues.append(Issue("TOTAL_MISMATCH", off, "amount"))
    amount = np.where(missing, derived, amount)
    columns["amount"] = pl.Series(amount).fill_nan(None)
    return policy, issues


def policy_issues(policy: np.ndarray) -> list[Issue]:
    """The rejecting issues behind policy numbers (N,)."""
    return [
        Issue(POLICIES[number], policy == number, BLAME[number])
        for number in range(1, len(POLICIES))
        if (policy == number).any()
    ]


def _values(series: pl.Series | None, like: Doubles) -> Doubles:
    return np.full(len(like), np.nan) if series is None else series.fill_null(np.nan).to_numpy()


def _differs(left: Doubles, right: Doubles) -> Bools:
    """True where both are known and more than a cent and half a percent apart."""
    return np.asarray(np.abs(left - right) > np.maximum(CENT, RELATIVE * np.abs(right)))


def _fractions(quantity: Doubles) -> list[Issue]:
    fraction = quantity != np.floor(quantity)
    fraction &= ~np.isnan(quantity)
    return [Issue("QTY_FRACTION", fraction, "quantity")] if fraction.any() else []


def _foreign(products: pl.Series, pattern: str) -> Bools:
    """Rows whose product id does not match; the pattern runs once for each distinct id."""
    ids = products.unique().drop_nulls()
    text = ids.cast(pl.String)
    bad = ids.filter(~text.str.contains(pattern))
    return (
        products.is_in(bad.implode()).fill_null(False).to_numpy() if len(bad) else np.zeros(len(products), dtype=bool)
    )
