"""What LIST, SHOW and DESCRIBE give: DataFrames that are shown whole."""

from __future__ import annotations

import pandas as pd

_WHOLE = ("display.max_rows", None, "display.max_columns", None, "display.max_colwidth", None)


class Listing(pd.DataFrame):
    """A DataFrame that leaves out no row and cuts no text; what is made of it is a plain one."""

    def __repr__(self) -> str:
        with pd.option_context(*_WHOLE):
            return super().__repr__()

    def _repr_html_(self) -> str:
        with pd.option_context(*_WHOLE):
            return f'<div style="max-height:32em;overflow:auto">{self.to_html(notebook=True)}</div>'
