"""Online Retail and Online Retail II (UCI 352 and 502): a UK gift shop, 2009-12 to 2011-12, one line an invoice row.

The two year sheets of II overlap on 2010-12-01..09: rows equal but for their sheet are one sale, which ``_part`` lets
the doctor see (the workbook's blocks already carry the sheet in their name). Codes of goods start with five digits,
or with DCGS; the rest are postage, fees, samples, vouchers and manual entries. Invoices that start with C cancel an
earlier one whose number they do not give. Country and description stand on every line.
"""

from __future__ import annotations

from aisle.data.presets.base import Preset, columns
from aisle.data.schema import Mapping, TableMapping

FORMS = (
    Preset(
        mapping=Mapping(
            name="online_retail",
            tables=(
                TableMapping(
                    "transactions",
                    ("*.*",),
                    columns(
                        customer_id="Customer ID",
                        product_id="StockCode",
                        timestamp="InvoiceDate|invoice_ts",
                        quantity="Quantity",
                        price="Price|UnitPrice",
                        order_id="Invoice|InvoiceNo",
                        name="Description",
                        group_1="Country",
                        _part="sheet",
                    ),
                    ignore=("dup_of_other_sheet",),
                ),
            ),
            numeric_ids=True,
            product_pattern=r"^(\d{5}|DCGS)",
            cancel_prefix="C",
            note="UCI Online Retail (II); no product tree; SP1002 and PADS are set aside with the postage (22 rows).",
        ),
        required=("Invoice|InvoiceNo", "StockCode", "InvoiceDate|invoice_ts", "Customer ID", "Price|UnitPrice"),
    ),
)
