from __future__ import annotations

import datetime as dt
from decimal import Decimal
from html.parser import HTMLParser

import pyarrow as pa

from kalam_jupyter.widgets.snapshot import cell_text, render


class Cells(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self.open = False
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        if tag == "tr":
            self.rows.append([])
        self.open = tag in ("td", "th")
        if self.open:
            self.rows[-1].append("")

    def handle_data(self, data):
        if self.open:
            self.rows[-1][-1] += data

    def handle_endtag(self, tag):
        self.open = False


def test_the_html_is_a_table_of_the_values():
    table = pa.table({"NAME": ["<b>&", None], "N": [1, 2]})
    bundle = render(table, "running")
    assert Cells(bundle["text/html"]).rows == [["NAME", "N"], ["<b>&", "1"], ["null", "2"]]
    assert "<b>" not in bundle["text/html"].replace("<br", "")
    assert bundle["text/plain"].splitlines() == ["NAME  N", "<b>&  1", "null  2", "running"]


def test_rows_left_out_are_told():
    assert "running · 1,000 more" in render(pa.table({"A": [1]}), "running", rows=1_001)["text/plain"]


def test_values_read_well():
    assert cell_text(1 / 3) == "0.3333333"
    assert cell_text(dt.datetime(2013, 1, 1, 5, tzinfo=dt.UTC)) == "2013-01-01 05:00:00"
    assert cell_text(1_357_016_400_000, "WINDOWSTART") == "2013-01-01 05:00:00"
    assert cell_text(Decimal("1.50")) == "1.50"
    assert cell_text(b"\x01\xff") == "0x01ff"
    assert cell_text({"a": [1.0, None]}) == "{a: [1, null]}"


def test_maps_are_maps():
    table = pa.table({"M": pa.array([[("x", 1)]], pa.map_(pa.string(), pa.int64()))})
    assert "{x: 1}" in render(table, "")["text/plain"]
