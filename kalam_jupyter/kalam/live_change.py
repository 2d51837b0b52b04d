"""One change as the subscribers of a live query see it, and its encoded forms, made once for all of them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import orjson

Row = tuple[Any, ...]
ChangeType = Literal["insert", "update", "delete"]


@dataclass(frozen=True)
class LiveChange:
    """One change as subscribers see it.

    Attributes
    ----------
    change_type : str
    rows, old_values : dict or None
        JSON objects of the contract; each goes out in an array of one.
    seq : int or None
        The row's new `_seq`.
    new, old : tuple or None
        Projected rows of physical values, for readers in this process; `old` is what the row was before.
    """

    change_type: ChangeType
    rows: dict[str, Any] | None
    old_values: dict[str, Any] | None
    seq: int | None
    new: Row | None = None
    old: Row | None = None

    @property
    def body(self) -> dict[str, Any]:
        """What the `change` message holds besides its type and the subscription."""
        body: dict[str, Any] = {"change_type": self.change_type}
        if self.rows is not None:
            body["rows"] = [self.rows]
        if self.old_values is not None:
            body["old_values"] = [self.old_values]
        return body

    @cached_property
    def json_tail(self) -> bytes:
        """The `change` message as JSON from behind the subscription id on: the same for all subscribers."""
        return b"," + orjson.dumps(self.body)[1:]

    @cached_property
    def forms(self) -> dict[str, Any]:
        """What transports made of this change for all its subscribers, by a name of theirs."""
        return {}

    def encode(self, subscription_id: str) -> bytes:
        """Return the `change` message as JSON; only the subscription id differs between subscribers."""
        return change_head(subscription_id) + self.json_tail

    def message(self, subscription_id: str) -> dict[str, Any]:
        """Return the `change` message as a dict."""
        return {"type": "change", "subscription_id": subscription_id, **self.body}


def change_head(subscription_id: str) -> bytes:
    """Return what stands before `LiveChange.json_tail`."""
    return b'{"type":"change","subscription_id":' + orjson.dumps(subscription_id)
