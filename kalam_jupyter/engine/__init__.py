"""The embedded engine: log, relations, topics, catalogue, clock, processors. See ARCHITECTURE.md."""

from kalam_jupyter.engine.clock import Clock
from kalam_jupyter.engine.engine import Engine
from kalam_jupyter.engine.history import Subscription
from kalam_jupyter.engine.processor import Processor, StepContext
from kalam_jupyter.engine.relation import Change, ChangeSet, Constant, Relation, Snapshot
from kalam_jupyter.engine.sources import SourceProvider
from kalam_jupyter.engine.topic import Record, Topic
from kalam_jupyter.engine.transaction import Transaction

__all__ = [
    "Change",
    "ChangeSet",
    "Clock",
    "Constant",
    "Engine",
    "Processor",
    "Record",
    "Relation",
    "Snapshot",
    "SourceProvider",
    "StepContext",
    "Subscription",
    "Topic",
    "Transaction",
]
