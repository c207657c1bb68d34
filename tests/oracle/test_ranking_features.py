"""Every feature of the ranker by plain loops over the lines of a small shop."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from dataclasses import replace
from functools import cache
from itertools import pairwise
from pathlib import Path
from statistics import fmean

import numpy as np
import pytest

from aisle.data.dataset import Dataset
from aisle.data.entities import Entities, Level
from aisle.data.events import Batch
from aisle.features import ranking
from aisle.features.ranking import Facts
from aisle.features.ranking.facts import DRAWN, SHRINK
from aisle.types import DAY, NEVER, Codes, Floats, Ints
from tests.contract.worlds import CUSTOMERS, CUT, PRODUCTS, other_future, tables, world

NAN = float("nan")
OWN_HALF_LIVES = (7.0, 28.0, 91.0, 365.0)
SALES_HALF_LIVES = (7.0, 28.0, 91.0)
Line = tuple[int, int, int, int, int, int, float]
"""customer, basket, product, time, store, channel, log price"""


@cache
def data() -> Dataset:
    return world()


@cache
def lines() -> list[Line]:
    """Purchases with each product once a basket (its first line), in order."""
    found, seen = [], set()
    for line in priced():
        if line[:3] not in seen:
            seen.add(line[:3])
            found.append(line)
    return found


@cache
def priced() -> list[Line]:
    p = data().purchases
    parts = (p.customer, p.basket, p.product, p.time, p.store, p.channel)
    price = [math.log(a / q) if a > 0 else NAN for a, q in zip(p.amount, p.quantity, strict=True)]
    return [(*map(int, key), cost) for *key, cost in zip(*parts, price, strict=True)]


@cache
def computed() -> tuple[tuple[str, ...], Floats, Ints, Codes]:
    batch = data().batch(np.arange(CUSTOMERS, dtype=np.int32))
    row, code = (part.ravel() for part in np.divmod(np.arange(CUSTOMERS * PRODUCTS), PRODUCTS))
    names, values = ranking.table(batch, Facts.at(data()), row, code.astype(np.int32))
    return names, values, row, code.astype(np.int32)


def column(name: str) -> Floats:
    names, values, _, _ = computed()
    return values[:, names.index(name)].reshape(CUSTOMERS, PRODUCTS)


def same(name: str, expected: dict[tuple[int, int], float]) -> None:
    wanted = np.array([[expected[u, i] for i in range(PRODUCTS)] for u in range(CUSTOMERS)])
    np.testing.assert_allclose(column(name), wanted, rtol=2e-5, atol=1e-5, err_msg=name)


def age(time: int) -> float:
    return (data().as_of - time) / DAY


def baskets_of(u: int) -> list[list[Line]]:
    found: dict[int, list[Line]] = defaultdict(list)
    for line in lines():
        if line[0] == u:
            found[line[1]].append(line)
    return [found[b] for b in sorted(found)]


def pairs() -> list[tuple[int, int]]:
    return [(u, i) for u in range(CUSTOMERS) for i in range(PRODUCTS)]


def rhythm(baskets: list[list[Line]], things: dict[int, int], thing: int) -> dict[str, float]:
    """The rhythm of one thing (a product, a category) in one customer's baskets, oldest first."""
    n = len(baskets)
    held = [(n - place, age(next(x for x in b if things[x[2]] == thing)[3])) for place, b in enumerate(baskets)
            if thing >= 0 and any(things[x[2]] == thing for x in b)]  # fmt: skip
    if not held:
        return {}
    ago, ages = [a for a, _ in held], [d for _, d in held]
    gaps = [math.log(max(old - new, 0.5)) for old, new in pairwise(ages)]
    gap = fmean(gaps) if gaps else NAN
    return {
        "count": len(held), "share": len(held) / n, "ago": ago[-1], "ago_share": ago[-1] / n, "first_ago": ago[0],
        "rate": (len(held) - 1) / max(ago[0] - ago[-1], 1), "days": ages[-1], "first_days": ages[0], "gap": gap,
        "gap_spread": float(np.std(gaps)) if len(gaps) > 1 else NAN,
        "overdue": math.log(max(ages[-1], 0.5)) - gap if gaps else NAN,
        "last_3": sum(a <= 3 for a in ago), "last_5": sum(a <= 5 for a in ago),
        **{f"decayed_{p}": sum(0.5 ** (d / h) for d in ages) for p, h in enumerate(OWN_HALF_LIVES)},
    }  # fmt: skip


def keyed(entities: Entities) -> list[tuple[str, Level]]:
    """Levels by the names that features use."""
    tree = [(level.name, level) for level in entities.tree]
    return tree + [(f"attribute_{level.name}", level) for level in entities.categories]


def test_customer_block() -> None:
    for u in range(CUSTOMERS):
        baskets = baskets_of(u)
        got = {n.removeprefix("customer_"): float(column(n)[u, 0]) for n in computed()[0] if n.startswith("customer_")}
        if not baskets:
            assert got["baskets"] == 0
            assert math.isnan(got["silence"])
            continue
        n, bought = len(baskets), Counter(x[2] for b in baskets for x in b)
        oldest, latest = age(baskets[0][0][3]), age(max(x[3] for x in baskets[-1]))
        gap = (oldest - latest) / max(n - 1, 1)
        last = {x[2] for x in baskets[-1]}
        wanted = {
            "baskets": n,
            "products": len(bought),
            "basket_size": sum(bought.values()) / n,
            "repetition": sum(bought.values()) / len(bought),
            "tenure": oldest,
            "silence": latest,
            "gap": gap if n > 1 else NAN,
            "silence_by_gap": latest / max(gap, 0.5) if n > 1 else NAN,
            "last_size": len(last),
            "known_in_last": fmean(bought[i] for i in last) / n,
        }
        assert got == pytest.approx(wanted, rel=1e-5, nan_ok=True)


def test_product_block() -> None:
    sold = Counter(x[2] for x in lines())
    size = Counter(x[1] for x in lines())
    total = sum(sold.values())
    fading = [{i: sum(0.5 ** (age(x[3]) / h) for x in lines() if x[2] == i) for i in range(PRODUCTS)}
              for h in SALES_HALF_LIVES]  # fmt: skip
    share = [{i: math.log((f[i] + 0.5) / (sum(f.values()) + 0.5 * PRODUCTS)) for i in f} for f in fading]
    log_share = {i: math.log((sold[i] + 0.5) / (total + 0.5 * PRODUCTS)) for i in range(PRODUCTS)}
    order = sorted(range(PRODUCTS), key=lambda i: (-sold[i], str(data().products.vocab.ids[i])))
    year = [x for x in lines() if abs(x[3] - (data().as_of - 365 * DAY)) <= 21 * DAY]
    then = Counter(x[2] for x in year)
    for i in range(PRODUCTS):
        mine = [x for x in lines() if x[2] == i]
        got = {n.removeprefix("product_"): float(column(n)[0, i]) for n in computed()[0] if n.startswith("product_")}
        wanted = {
            "log_share": log_share[i],
            **{f"log_share_{p}": share[p][i] for p in range(3)},
            "trend": share[0][i] - share[2][i],
            "rank": math.log1p(order.index(i)),
            "basket_size": fmean(size[x[1]] for x in mine),
            "last_year": math.log((then[i] + 0.5) / (len(year) + 0.5 * PRODUCTS)) - log_share[i] if year else NAN,
            "first_sale": age(min(x[3] for x in mine)),
            "last_sale": age(max(x[3] for x in mine)),
        }
        assert {name: got[name] for name in wanted} == pytest.approx(wanted, rel=2e-5, abs=1e-5, nan_ok=True)


def test_repeats_of_products() -> None:
    counts = Counter((x[0], x[2]) for x in lines() if x[0] >= 0)
    people = len({u for u, _ in counts})
    gaps: dict[int, list[float]] = defaultdict(list)
    for u in range(CUSTOMERS):
        when: dict[int, list[float]] = defaultdict(list)
        for b in baskets_of(u):
            for x in b:
                when[x[2]].append(age(x[3]))
        for i, ages in when.items():
            gaps[i] += [math.log(max(a - b, 0.5)) for a, b in pairwise(ages)]
    overall = fmean(g for own in gaps.values() for g in own)
    for i in range(PRODUCTS):
        mine = [n for (_, product), n in counts.items() if product == i]
        wanted = {
            "buyers": len(mine) / people,
            "repeat_rate": (sum(n > 1 for n in mine) + 1) / (len(mine) + 10),
            "per_buyer": sum(mine) / max(len(mine), 1),
            "gap": (sum(gaps[i]) + SHRINK * overall) / (len(gaps[i]) + SHRINK),
        }
        got = {name: float(column(f"product_{name}")[0, i]) for name in wanted}
        assert got == pytest.approx(wanted, rel=1e-5)


def test_pair_block() -> None:
    things = {i: i for i in range(PRODUCTS)}
    zero = ("count", "share", "last_3", "last_5", "rate", *(f"decayed_{p}" for p in range(4)))
    gap = column("product_gap")[0]
    expected: dict[str, dict[tuple[int, int], float]] = defaultdict(dict)
    for u in range(CUSTOMERS):
        baskets = baskets_of(u)
        for i in range(PRODUCTS):
            own = rhythm(baskets, things, i)
            names = [n.removeprefix("own_") for n in computed()[0] if n.startswith("own_") and n != "own_due"]
            for name in names:
                expected[f"own_{name}"][u, i] = own.get(name, 0.0 if name in zero else NAN)
            drawn = (((own["count"] - 1) * np.nan_to_num(own["gap"]) + gap[i]) / own["count"]) if own else NAN
            expected["own_due"][u, i] = math.log(max(own["days"], 0.5)) - drawn if own else NAN
            expected["bought"][u, i] = float(bool(own))
    assert len(expected) == 19
    for name, wanted in expected.items():
        same(name, wanted)


def test_category_block() -> None:
    for key, level in keyed(data().products):
        things = {i: int(c) for i, c in enumerate(level.codes)}
        expected: dict[str, dict[tuple[int, int], float]] = defaultdict(dict)
        for u in range(CUSTOMERS):
            baskets = baskets_of(u)
            for i in range(PRODUCTS):
                found = rhythm(baskets, things, things[i])
                for name in ("count", "share", "ago", "days", "overdue", "last_3", "decayed_1"):
                    blank = 0.0 if name in ("count", "share", "last_3") else NAN
                    expected[f"{key}_{name}"][u, i] = found.get(name, blank)
        sold = Counter(x[2] for x in lines())
        total: dict[int, float] = defaultdict(float)
        for i in range(PRODUCTS):
            total[things[i]] += sold[i] + 0.5
        expected[f"product_{key}_share"] = {(u, i): math.log((sold[i] + 0.5) / total[things[i]]) for u, i in pairs()}
        for name, wanted in expected.items():
            same(name, wanted)


def test_price_block() -> None:
    usual = {i: fmean(x[6] for x in priced() if x[2] == i) for i in range(PRODUCTS)}
    for u, i in pairs():
        paid = [x[6] for x in priced() if x[0] == u]
        wanted = usual[i] - fmean(paid) if paid else NAN
        assert float(column("price_off")[u, i]) == pytest.approx(wanted, abs=1e-5, nan_ok=True)
        assert float(column("product_price")[u, i]) == pytest.approx(usual[i], abs=1e-5)
    spread = {u: float(np.std([x[6] for x in priced() if x[0] == u] or [NAN])) for u in range(CUSTOMERS)}
    scaled = {(u, i): float(column("price_off")[u, i]) / (spread[u] + 0.1) for u, i in pairs()}
    same("price_off_spread", scaled)
    place = column("product_price_place")[0]
    mean = {u: fmean(place[x[2]] for x in priced() if x[0] == u) if baskets_of(u) else NAN for u in range(CUSTOMERS)}
    off = {(u, i): float(place[i]) - mean[u] if baskets_of(u) else float(place[i]) for u, i in pairs()}
    same("price_place_off", off)


def test_prices_of_products() -> None:
    usual = [fmean(x[6] for x in priced() if x[2] == i) for i in range(PRODUCTS)]
    leaf = data().products.tree[-1]
    for i in range(PRODUCTS):
        mine = [x for x in priced() if x[2] == i]
        now = [x[6] for x in mine if age(x[3]) <= 28]
        peers = [j for j in range(PRODUCTS) if leaf.codes[j] == leaf.codes[i]]
        wanted = {
            "product_price_moved": fmean(now) - usual[i] if now else NAN,
            "product_price_place": (sum(usual[j] < usual[i] for j in range(PRODUCTS)) + 0.5) / PRODUCTS,
            "product_price_in_leaf": (sum(usual[j] < usual[i] for j in peers) + 0.5) / len(peers),
        }
        got = {name: float(column(name)[0, i]) for name in wanted}
        tied = sum(math.isclose(other, usual[i], abs_tol=1e-9) for other in usual) > 1
        assert tied or got == pytest.approx(wanted, rel=1e-4, abs=1e-5, nan_ok=True)
    for u in range(CUSTOMERS):
        paid = [x[6] for x in priced() if x[0] == u]
        assert float(column("price_usual")[u, 0]) == pytest.approx(fmean(paid) if paid else NAN, nan_ok=True)


def test_prices_are_compared_within_the_leaf_of_the_tree() -> None:
    shop, random = data(), np.random.default_rng(5)
    cost = random.permutation(PRODUCTS) + 1.0
    events = shop.all_events
    amount = (events.quantity * cost[events.product]).astype(np.float32)
    priced_shop = replace(shop, all_events=replace(events, amount=amount))
    leaf = shop.products.tree[-1].codes
    found = Facts.at(priced_shop).columns
    assert [name for name in found if name.startswith("price_in_")] == ["price_in_leaf"]
    for i in range(PRODUCTS):
        peers = [j for j in range(PRODUCTS) if leaf[j] == leaf[i]]
        wanted = (sum(cost[j] < cost[i] for j in peers) + 0.5) / len(peers)
        assert found["price_in_leaf"][i] == pytest.approx(wanted)
    without_tree = replace(priced_shop, products=replace(shop.products, tree=()))
    assert not any(name.startswith("price_in_") for name in Facts.at(without_tree).columns)


def test_names_that_a_user_chose_never_stand_for_other_features() -> None:
    shop, (names, _, row, code) = data(), computed()
    taken = ("store", "channel", "log", "own", "customer", "category_1", "group_1", "price_in_leaf")
    blank = shop.products.categories[0], shop.customers.categories[0]
    goods, people = (tuple(replace(level, name=name) for name in taken[part::2]) for part, level in enumerate(blank))
    renamed = replace(
        shop, products=replace(shop.products, categories=goods), customers=replace(shop.customers, categories=people)
    )
    batch = renamed.batch(np.arange(CUSTOMERS, dtype=np.int32))
    found, values = ranking.table(batch, Facts.at(renamed), row, code)
    assert len(set(found)) == len(found)
    kept = [name for name in names if "attribute_" not in name]
    assert [name for name in found if "attribute_" not in name] == kept
    for name in kept:
        np.testing.assert_array_equal(values[:, found.index(name)].reshape(CUSTOMERS, PRODUCTS), column(name), name)
    assert {f"attribute_{name}_count" for name in taken[0::2]} <= set(found)
    assert {f"group_attribute_{name}" for name in taken[1::2]} <= set(found)


def test_every_feature_has_an_oracle() -> None:
    text = Path(__file__).read_text(encoding="utf-8")
    levels = [level.name for level in (*data().products.tree, *data().products.categories)]
    families = ("group_", "own_decayed_", "product_log_share_")
    missing = []
    for name in computed()[0]:
        short = name.split("_", 1)[-1] if name.startswith(("customer_", "product_", "own_")) else name
        of_level = any(level in name for level in levels)
        if not of_level and not name.startswith(families) and f'"{name}"' not in text and f'"{short}"' not in text:
            missing.append(name)
    assert missing == []


def test_group_block() -> None:
    log_share = column("product_log_share")[0]
    for key, level in keyed(data().customers):
        counts = Counter((int(level.codes[x[0]]), x[2]) for x in lines() if x[0] >= 0)
        total = Counter(g for (g, _), n in counts.items() for _ in range(n))
        expected = {}
        for u, i in pairs():
            g, share = int(level.codes[u]), math.exp(log_share[i])
            lift = (counts[g, i] + DRAWN * share) / (total[g] + DRAWN) / share
            expected[u, i] = math.log(lift) if g >= 0 else 0.0
        same(f"group_{key}", expected)
    for name, place in (("store", 4), ("channel", 5)):
        counts = Counter((int(x[place]), x[2]) for x in lines())
        total = Counter(int(x[place]) for x in lines())
        for u in range(CUSTOMERS):
            visits = {x[1]: {int(y[place]) for y in priced() if y[:2] == x[:2]} for x in priced() if x[0] == u}
            ranked = Counter(code for codes in visits.values() for code in codes).most_common()
            if ranked and (len(ranked) == 1 or ranked[0][1] > ranked[1][1]):
                home = ranked[0][0]
                for i in range(PRODUCTS):
                    share = math.exp(log_share[i])
                    lift = math.log((counts[home, i] + DRAWN * share) / (total[home] + DRAWN) / share)
                    assert column(f"group_{name}")[u, i] == pytest.approx(lift, abs=1e-5)
                    assert name == "channel" or column("store_sells")[u, i] == (counts[home, i] > 0)


def test_company_block() -> None:
    baskets: dict[int, set[int]] = defaultdict(set)
    buyers: dict[int, set[int]] = defaultdict(set)
    for x in lines():
        baskets[x[2]].add(x[1])
        if x[0] >= 0:
            buyers[x[2]].add(x[0])

    def cosine(sets: dict[int, set[int]], i: int, j: int) -> float:
        return len(sets[i] & sets[j]) / (math.sqrt(len(sets[i]) * len(sets[j])) + SHRINK) if i != j else 0.0

    expected: dict[str, dict[tuple[int, int], float]] = defaultdict(dict)
    for u in range(CUSTOMERS):
        held = [[x[2] for x in b] for b in baskets_of(u)][::-1]
        for i in range(PRODUCTS):
            near = [[cosine(baskets, j, i) for j in b] for b in held]
            kin = [[cosine(buyers, j, i) for j in b] for b in held]
            expected["company_last"][u, i] = sum(near[0]) if held else 0.0
            expected["company_best"][u, i] = max(near[0]) if held else 0.0
            expected["company_late"][u, i] = sum(map(sum, near[:3]))
            expected["company_faded"][u, i] = sum(0.8**ago * sum(b) for ago, b in enumerate(near))
            expected["kin_faded"][u, i] = sum(0.8**ago * sum(b) for ago, b in enumerate(kin))
            expected["kin_all"][u, i] = sum(cosine(buyers, j, i) for j in {j for b in held for j in b})
    for name, wanted in expected.items():
        same(name, wanted)


def test_the_future_changes_no_feature() -> None:
    other = Dataset.of(other_future(tables(), CUT)).before(CUT)
    names, values, row, code = computed()
    again, found = ranking.table(other.batch(np.arange(CUSTOMERS, dtype=np.int32)), Facts.at(other), row, code)
    assert again == names
    np.testing.assert_array_equal(found, values)


def test_a_pair_gets_the_same_features_in_any_company() -> None:
    facts, (_, values, _, _) = Facts.at(data()), computed()
    for u in (3, 17, 40):
        batch: Batch = data().batch(np.array([u], dtype=np.int32))
        code = np.array([5, 2, 31], dtype=np.int32)
        alone = ranking.table(batch, facts, np.zeros(3, dtype=np.int64), code)[1]
        np.testing.assert_array_equal(alone, values[u * PRODUCTS + code])


def test_facts_survive_their_state() -> None:
    facts = Facts.at(data())
    back = Facts.restored(*facts.state())
    batch = data().batch(np.arange(CUSTOMERS, dtype=np.int32))
    _, values, row, code = computed()
    np.testing.assert_array_equal(ranking.table(batch, back, row, code)[1], values)
    assert not any(np.isnan(a).any() for a in facts.state()[0].values() if a.dtype.kind == "f")
    assert (facts.first_sale != NEVER).all()
