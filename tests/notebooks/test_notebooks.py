from __future__ import annotations

from pathlib import Path

import nbformat
import pytest

from .run import NOTEBOOKS, ROOT, WIDGET_VIEW, execute

pytestmark = [pytest.mark.notebook]
BY_NAME = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def tagged(notebook: nbformat.NotebookNode, tag: str) -> list[nbformat.NotebookNode]:
    return [cell for cell in notebook.cells if tag in cell.metadata.get("tags", ())]


def html(cell: nbformat.NotebookNode) -> str:
    return "".join(output.get("data", {}).get("text/html", "") for output in cell.outputs)


def test_there_are_notebooks():
    assert "00_tour.ipynb" in {path.name for path in NOTEBOOKS}


@BY_NAME
@pytest.mark.timeout(300)
def test_it_runs_and_its_live_cells_leave_tables(path: Path):
    notebook = execute(path)
    assert tagged(notebook, "live"), "a notebook of ours shows something live"
    for cell in tagged(notebook, "live"):
        assert "<tbody>\n<tr>" in html(cell), cell.source
    assert tagged(notebook, "check"), "a notebook of ours ends with assertions"


@BY_NAME
def test_what_is_committed_can_be_read_without_a_kernel(path: Path):
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    assert "widgets" not in notebook.metadata
    for cell in notebook.cells:
        for output in cell.get("outputs", ()):
            assert output.output_type != "error", cell.source
            assert WIDGET_VIEW not in output.get("data", {})
    for cell in tagged(notebook, "live"):
        assert "<tbody>\n<tr>" in html(cell), cell.source
    assert all(cell.execution_count for cell in notebook.cells if cell.cell_type == "code")
    assert str(ROOT) not in path.read_text(encoding="utf-8")
