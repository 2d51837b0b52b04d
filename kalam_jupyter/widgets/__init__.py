"""Live widgets: they keep changing after their cell has returned, and leave a snapshot in the file."""

from kalam_jupyter.widgets.live_table import LiveTable, live_tables

__all__ = ["LiveTable", "live_tables"]
