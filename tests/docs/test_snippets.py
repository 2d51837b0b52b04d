"""What the documentation shows is true: its Python runs, its commands print what stands there."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import nbformat
import pytest

from kalam_jupyter.magics.commands import COMMANDS
from kalam_jupyter.magics.options import OPTIONS
from kalam_server.cli import main
from tests.notebooks.run import execute
from tests.server.running import TOKEN, running

DOCS = Path(__file__).parents[2] / "docs"
_BLOCK = re.compile(r"^```(\w+)(?: +(\S+))?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\((?!https?:)([^)#]+)")


@dataclass(frozen=True)
class Block:
    """A fenced block of a page.

    Attributes
    ----------
    language : str
    file : str or None
        The name of the file that it shows.
    """

    language: str
    file: str | None
    text: str
    line: int


def blocks(page: str) -> list[Block]:
    text = (DOCS / page).read_text(encoding="utf-8")
    return [Block(m[1], m[2], m[3], text.count("\n", 0, m.start()) + 2) for m in _BLOCK.finditer(text)]


def run_python(page: str, names: dict[str, object]) -> None:
    found = [b for b in blocks(page) if b.language == "python"]
    assert found
    for block in found:
        code = compile("\n" * (block.line - 1) + block.text, str(DOCS / page), "exec")
        exec(code, names)


def test_python_api() -> None:
    run_python("python-api.md", {})


FLIGHTS = """\
import kalam_jupyter
import pandas as pd

hours = pd.to_datetime(["2013-01-01T05:00", "2013-01-01T06:00"])
df = pd.DataFrame({"id": [1, 2], "origin": ["JFK", "LGA"], "time_hour": hours, "scheduled": hours})
"""
#: What a page takes for granted.
BEFORE = {
    "../README.md": (FLIGHTS,),
    "notebook.md": (
        FLIGHTS,
        """\
%load_ext kalam_jupyter
connection = kalam_jupyter.connect()
connection.ksql("CREATE STREAM orders (id INT KEY, item STRING, price DOUBLE)"
    " WITH (KAFKA_TOPIC='orders', VALUE_FORMAT='JSON', PARTITIONS=1);"
    "CREATE STREAM numbers (k STRING KEY, n INT)"
    " WITH (KAFKA_TOPIC='numbers', VALUE_FORMAT='JSON', PARTITIONS=1);")""",
        "%%ksql\ntable << SELECT * FROM numbers EMIT CHANGES;",
        "for n in range(100):\n    connection.ksql(f\"INSERT INTO numbers VALUES ('a', {n});\")",
    ),
}


@pytest.mark.notebook
@pytest.mark.parametrize(
    "page",
    ["../README.md", "index.md", "notebook.md", "from-ksqldb.md", "from-kalamdb.md", "teaching.md"],
)
def test_cells_of_a_page_run_one_after_the_other(page: str, tmp_path: Path) -> None:
    shown = [b.text for b in blocks(page) if b.language in ("python", "sql") and b.file is None]
    assert shown
    cells = [nbformat.v4.new_code_cell(text) for text in (*BEFORE.get(page, ()), *shown)]
    notebook = nbformat.v4.new_notebook(cells=cells)
    path = tmp_path / "page.ipynb"
    nbformat.write(notebook, path)
    execute(path)


def test_every_option_and_command_of_the_magics_is_described() -> None:
    text = (DOCS / "notebook.md").read_text(encoding="utf-8")
    assert [name for name in OPTIONS if f"`{name}" not in text] == []
    assert [name for name in COMMANDS if f"%ksql {name}" not in text] == []


@pytest.fixture
def cluster() -> Iterator[str]:
    with running("ksql") as server:
        yield server.url


def test_cluster(cluster: str) -> None:
    run_python("cluster.md", {"url": cluster, "token": TOKEN})


def test_testing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    commands = 0
    for block in blocks("testing.md"):
        if block.file is not None:
            (tmp_path / block.file).write_text(block.text, encoding="utf-8")
        elif block.language == "console":
            command, _, expected = block.text.partition("\n")
            words = shlex.split(command)
            assert words[:2] == ["$", "kalam"]
            code = main(words[2:])
            assert capsys.readouterr().out == expected
            assert code == (1 if expected.startswith("FAIL") else 0)
            commands += 1
    assert commands == 3


@pytest.mark.parametrize("page", sorted(p.name for p in DOCS.glob("*.md")))
def test_links_lead_somewhere(page: str) -> None:
    text = (DOCS / page).read_text(encoding="utf-8")
    missing = [link for link in _LINK.findall(text) if not (DOCS / link).exists()]
    assert missing == []


def test_every_page_is_on_the_map() -> None:
    index = (DOCS / "index.md").read_text(encoding="utf-8")
    assert [p.name for p in DOCS.glob("*.md") if p.name != "index.md" and f"]({p.name})" not in index] == []
