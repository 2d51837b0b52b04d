"""Content negotiation: which of the offered media types an ``Accept`` header asks for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

JSON = "application/json"
KSQL_JSON = "application/vnd.ksql.v1+json"
KSQL_PROTOBUF = "application/vnd.ksql.v1+protobuf"
DELIMITED = "application/vnd.ksqlapi.delimited.v1"
ARROW = "application/vnd.apache.arrow.stream"


class NotAcceptableError(Exception):
    """The header names nothing that is offered."""


@dataclass(frozen=True)
class MediaRange:
    """One candidate of an ``Accept`` header.

    Attributes
    ----------
    type, subtype : str
        Lower case; ``*`` is a wildcard.
    quality : float
        0 to 1, two decimals.
    parameters : int
        How many parameters it has besides ``q``.
    """

    type: str
    subtype: str
    quality: float = 1.0
    parameters: int = 0

    @property
    def rank(self) -> tuple[float, int, int]:
        """Sort key: the highest is tried first."""
        specific = 0 if self.type == "*" else 1 if self.subtype == "*" else 2
        return self.quality, specific, self.parameters

    def matches(self, media_type: str) -> bool:
        """Whether `media_type` lies in this range."""
        type_, _, subtype = media_type.partition("/")
        return self.type in ("*", type_) and self.subtype in ("*", subtype)


def parse_accept(header: str) -> list[MediaRange]:
    """Return the ranges of a header, best first; what cannot be read is left out."""
    ranges = []
    for candidate in header.split(","):
        name, *parameters = [piece.strip() for piece in candidate.split(";")]
        type_, slash, subtype = name.lower().partition("/")
        if not slash or not type_ or not subtype:
            if name != "*":
                continue
            type_ = subtype = "*"
        quality, others = 1.0, 0
        for parameter in parameters:
            key, _, value = parameter.partition("=")
            if key.strip().lower() == "q":
                quality = _quality(value)
            else:
                others += 1
        ranges.append(MediaRange(type_, subtype, quality, others))
    return sorted(ranges, key=lambda r: r.rank, reverse=True)


def _quality(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        return 1.0
    if value != value:
        return 1.0
    return round(min(1.0, max(0.0, value)), 2)


def select(header: str | None, offered: Sequence[str], favourite: str | None = None) -> str | None:
    """Choose a media type.

    Parameters
    ----------
    header : str or None
        The ``Accept`` header.
    offered : sequence of str
        What the route serves.
    favourite : str, optional
        What a wildcard gets; the first offered one by default.

    Returns
    -------
    str or None
        None when there is no header: the route applies its own default.

    Raises
    ------
    NotAcceptableError
        If nothing offered is asked for.
    """
    if header is None or not header.strip():
        return None
    for wanted in parse_accept(header):
        if wanted.quality == 0:
            continue
        if favourite is not None and "*" in (wanted.type, wanted.subtype) and wanted.matches(favourite):
            return favourite
        for media_type in offered:
            if wanted.matches(media_type):
                return media_type
    raise NotAcceptableError(header)
