"""``aisle bench speed``: every figure beside a rival or a limit, measured in the same run. See ``docs/speed.md``.

Read the files in this order: ``task`` (what a comparison is), ``retailer`` and ``pieces`` (what is measured on), the
tasks (``limits``, ``ingest``, ``topk``, ``fit``, ``lists``, ``growth``), ``child`` and ``process`` (a measurement is a
fresh process), ``run`` (order, receipts), ``figures`` (arithmetic), ``page`` and ``picture``.
"""
