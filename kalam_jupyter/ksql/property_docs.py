"""Writes ``docs/ksql-properties.md``: ``python -m kalam_jupyter.ksql.property_docs [path]``."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from kalam_jupyter.ksql.properties import PROPERTIES, Property

_HEAD = """\
# Properties of ksqlDB

Made from the table in `kalam_jupyter/ksql/properties.py` by `python -m kalam_jupyter.ksql.property_docs`;
do not edit it.

`SET 'name'='value';` overrides a property for a session, `UNSET 'name';` takes that back, `SHOW PROPERTIES;`
lists what is in force. A request's `streamsProperties` do the same for one request. Those marked *server*
belong to the server's configuration: a session's value is taken, as a cluster takes it, and changes nothing.
"""
_ACTS = "\n## What acts here\n\n| Property | Default | |\n|---|---|---|\n"
_REST = """
## Taken, with nothing to act on

There are no brokers, replicas, threads of a query, standby servers, retries or metrics reporters here.
Scripts that set these properties run as they are. So do those that set properties of Kafka Streams, its
consumers and producers (`auto.offset.reset` apart), with or without the prefix `ksql.streams.`; a name that
neither ksqlDB nor Kafka knows is refused.

| Property | Default |
|---|---|
"""


def render() -> str:
    """Return the page."""
    known = sorted(PROPERTIES.values(), key=lambda p: p.name)
    acting = "".join(f"| `{p.name}` | {_default(p)} | {_what(p)} |\n" for p in known if p.acts)
    resting = "".join(f"| `{p.name}` | {_default(p)} |\n" for p in known if not p.acts)
    return f"{_HEAD}{_ACTS}{acting}{_REST}{resting}"


def _default(p: Property) -> str:
    if p.default is None:
        return "not set"
    return f"`{p.default}`" if p.default else "empty"


def _what(p: Property) -> str:
    return f"*server*: {p.acts}" if p.server else p.acts


def main(arguments: Sequence[str]) -> None:
    """Write the page to the path given, or to ``docs/ksql-properties.md``."""
    Path(arguments[0] if arguments else "docs/ksql-properties.md").write_text(render(), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
