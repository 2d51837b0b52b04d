"""What subscribers of a live query are told, and its encoded forms, made once for all of them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import orjson

Row = tuple[Any, ...]
ChangeType = Literal["insert", "update", "delete"]


class LiveMessage:
    """A message about a subscription: the same for all subscribers but for the subscription's id.

    Attributes
    ----------
    kind : str
        The message's ``type``.
    body : dict
        What it holds besides ``type`` and ``subscription_id``.
    """

    def __init__(self, kind: str, body: dict[str, Any]) -> None:
        self.kind, self.body = kind, body

    @cached_property
    def json_tail(self) -> bytes:
        """The message as JSON from behind the subscription id on."""
        return b"," + orjson.dumps(self.body)[1:]

    @cached_property
    def forms(self) -> dict[str, Any]:
        """What transports made of this message for all its subscribers, by a name of theirs."""
        return {}

    def encode(self, subscription_id: str) -> bytes:
        """Return the message as JSON."""
        return message_head(self.kind, subscription_id) + self.json_tail

    def to(self, subscription_id: str) -> dict[str, Any]:
        """Return the message as a dict."""
        return {"type": self.kind, "subscription_id": subscription_id, **self.body}


def message_head(kind: str, subscription_id: str) -> bytes:
    """Return what stands before `LiveMessage.json_tail`."""
    return b'{"type":"%b","subscription_id":%b' % (kind.encode(), orjson.dumps(subscription_id))


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

    @cached_property
    def told(self) -> LiveMessage:
        """The `change` message."""
        body: dict[str, Any] = {"change_type": self.change_type}
        if self.rows is not None:
            body["rows"] = [self.rows]
        if self.old_values is not None:
            body["old_values"] = [self.old_values]
        return LiveMessage("change", body)

    def encode(self, subscription_id: str) -> bytes:
        """Return the `change` message as JSON."""
        return self.told.encode(subscription_id)

    def message(self, subscription_id: str) -> dict[str, Any]:
        """Return the `change` message as a dict."""
        return self.told.to(subscription_id)
