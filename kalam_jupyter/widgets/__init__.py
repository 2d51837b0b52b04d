"""Live widgets: they keep changing after their cell has returned, and leave a snapshot in the file."""

from kalam_jupyter.widgets.live_chart import LiveChart
from kalam_jupyter.widgets.live_table import LiveTable
from kalam_jupyter.widgets.live_widget import live_widgets
from kalam_jupyter.widgets.stepper import Stepper
from kalam_jupyter.widgets.topology import Topology

__all__ = ["LiveChart", "LiveTable", "Stepper", "Topology", "live_widgets"]
