"""Stepping: one query, fed by hand, with every operator's input, output and state to look at."""

from kalam_jupyter.ksql.stepping.records import RecordView, SourceRecord
from kalam_jupyter.ksql.stepping.stepping import OperatorStep, Step, Stepping
from kalam_jupyter.ksql.stepping.views import StateTable, StateView

__all__ = ["OperatorStep", "RecordView", "SourceRecord", "StateTable", "StateView", "Step", "Stepping"]
