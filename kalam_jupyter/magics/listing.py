"""What LIST, SHOW and DESCRIBE give: DataFrames that are shown whole."""

from __future__ import annotations

from typing import Any

import pandas as pd

_WHOLE = ("display.max_rows", None, "display.max_columns", None, "display.max_colwidth", None)
# They are texts, and texts are read from the left.
_STYLE = "<style>.klt-listing :is(th, td) { text-align: left !important; }</style>"


class Listing(pd.DataFrame):
    """A DataFrame that leaves out no row and cuts no text; what is made of it is a plain one."""

    def __repr__(self) -> str:
        with pd.option_context(*_WHOLE):
            return repr(self.map(_one_line))

    def _repr_html_(self) -> str:
        with pd.option_context(*_WHOLE):
            table = self.map(_one_line).to_html(notebook=True)
        return f'<div class="klt-listing" style="max-height:32em;overflow:auto">{_STYLE}{table}</div>'


def _one_line(value: Any) -> Any:
    """Return a statement of several lines as one; pandas would show its line ends as ``\\n``."""
    return " ".join(value.split()) if isinstance(value, str) and "\n" in value else value
