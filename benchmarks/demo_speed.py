"""How fast and in how little memory ``aisle demo`` writes a large retailer.

The bar is a peak below 1 GB whatever the number of customers, since they are written block by block.

    python -m benchmarks.demo_speed [CUSTOMERS PRODUCTS]
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.common import measure, record

BAR_MB = 1_000
SIZES = ((2_000, 500), (20_000, 20_000), (200_000, 20_000))


def size(customers: int, products: int) -> dict[str, Any]:
    """Cost of one retailer and what it holds."""
    with tempfile.TemporaryDirectory(prefix="aisle-demo-speed-") as name:
        shop = Path(name) / "shop"
        arguments = ["--customers", str(customers), "--products", str(products), "--quiet"]
        cost = measure([sys.executable, "-m", "aisle", "demo", str(shop), *arguments])
        cost["command"] = f"aisle demo SHOP --customers {customers} --products {products}"
        if cost["exit_code"]:
            return cost
        counts = json.loads((shop / "truth" / "truth.json").read_text(encoding="utf-8"))["counts"]
        written = {path.name: path.stat().st_size for path in shop.iterdir() if path.is_file()}
    return {
        **cost,
        **counts,
        "lines_per_cpu_second": round(counts["lines"] / cost["cpu_seconds"]),
        "lines_per_wall_second": round(counts["lines"] / cost["wall_seconds"]),
        "megabytes": {name: round(size / 1e6, 1) for name, size in sorted(written.items())},
    }


def main() -> None:
    """Write the retailers and ``results/demo_speed.json``."""
    asked = [int(text) for text in sys.argv[1:3]]
    sizes = [(asked[0], asked[1])] if len(asked) == 2 else list(SIZES)
    results = [size(customers, products) for customers, products in sizes]
    command = " ".join(["python -m benchmarks.demo_speed", *map(str, asked)])
    record("demo_speed", {"bar_mb": BAR_MB, "retailers": results}, command)


if __name__ == "__main__":
    main()
