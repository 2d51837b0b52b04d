"""Transactions: the only way to change an engine.

Each operation is applied at once, together with how to take it back, and (in an engine that has a
log) with what the log needs to apply it again. Recovery runs the same operations: see `REPLAY`.
"""

from __future__ import annotations

from typing import Any

from kalam_jupyter.engine.catalogue import json_copy
from kalam_jupyter.engine.errors import EngineError
from kalam_jupyter.engine.processor_operations import ProcessorOperations
from kalam_jupyter.engine.relation_operations import RelationOperations


class Transaction(RelationOperations, ProcessorOperations, eq=False):
    """One atomic change. Handed to the function given to `Engine.transact`; of no use afterwards.

    Attributes
    ----------
    position : int
        Log position that the change gets.
    now_ms : int
        Processing time of the whole transaction.
    engine : Engine
        For reads; they see what the transaction has done so far.
    """

    def get(self, kind: str, name: str) -> Any | None:
        """Return a catalogue value, or None."""
        return self.engine.catalogue.get(kind, name)

    def put(self, kind: str, name: str, value: Any) -> None:
        """Set a catalogue value, which must be JSON and not None.

        Raises
        ------
        TypeError
            If it is not JSON.
        """
        self._check_open()
        if value is None:
            raise EngineError("a catalogue value cannot be None: remove it instead")
        self._swap(kind, name, json_copy(value))

    def remove(self, kind: str, name: str) -> None:
        """Remove a catalogue value, if it is there."""
        self._check_open()
        if self.engine.catalogue.get(kind, name) is not None:
            self._swap(kind, name, None)

    def _swap(self, kind: str, name: str, value: Any | None) -> None:
        catalogue = self.engine.catalogue
        before = catalogue.swap(kind, name, value)
        self._did(lambda: (catalogue.swap(kind, name, before), None)[1], "put", kind, name, value)
