"""A campaign's results, on the terminal and as one HTML file."""

from orchestrator.report.html import write_page
from orchestrator.report.terminal import print_table

__all__ = ["print_table", "write_page"]
