"""One look for HTML and console: plots and pages."""

from aisle.report.page import SampleCustomer, write_report

__all__ = ["SampleCustomer", "write_report"]
