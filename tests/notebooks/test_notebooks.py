from __future__ import annotations

from pathlib import Path

import nbformat
import pytest

from .run import NOTEBOOKS, ROOT, WIDGET_VIEW, execute, solutions

pytestmark = [pytest.mark.notebook]
BY_NAME = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
LESSONS = pytest.mark.parametrize("path", NOTEBOOKS[1:], ids=lambda path: path.stem)


def tagged(notebook: nbformat.NotebookNode, tag: str) -> list[nbformat.NotebookNode]:
    return [cell for cell in notebook.cells if tag in cell.metadata.get("tags", ())]


def html(cell: nbformat.NotebookNode) -> str:
    return "".join(output.get("data", {}).get("text/html", "") for output in cell.outputs)


def test_there_are_a_tour_and_ten_lessons():
    assert [path.name[:3] for path in NOTEBOOKS] == [f"{n:02}_" for n in range(11)]
    assert NOTEBOOKS[0].name == "00_tour.ipynb"


def shows_rows(cell: nbformat.NotebookNode) -> bool:
    """Whether a live cell left a table with rows, or a picture, for readers without a kernel."""
    left = html(cell)
    return "<tbody>\n<tr>" in left or ("klt-snapshot" in left and "data:image/svg+xml" in left)


@BY_NAME
@pytest.mark.timeout(300)
def test_it_runs_with_its_solutions_and_its_live_cells_leave_tables(path: Path):
    notebook = execute(path, solved=True)
    assert tagged(notebook, "live"), "a notebook of ours shows something live"
    for cell in tagged(notebook, "live"):
        assert shows_rows(cell), cell.source
    for cell in tagged(notebook, "raises-exception"):
        assert [o.ename for o in cell.outputs if o.output_type == "error"], cell.source
    assert tagged(notebook, "check"), "a notebook of ours ends with assertions"


@BY_NAME
def test_what_is_committed_can_be_read_without_a_kernel(path: Path):
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    assert "widgets" not in notebook.metadata
    for cell in notebook.cells:
        for output in cell.get("outputs", ()):
            refused = "raises-exception" in cell.metadata.get("tags", ())
            assert output.output_type != "error" or refused, cell.source
            assert WIDGET_VIEW not in output.get("data", {})
    for cell in tagged(notebook, "live"):
        assert shows_rows(cell), cell.source
    assert all(cell.execution_count for cell in notebook.cells if cell.cell_type == "code")
    assert str(ROOT) not in path.read_text(encoding="utf-8")


@LESSONS
def test_a_lesson_asks_explains_draws_and_lets_practise(path: Path):
    notebook = nbformat.read(path, as_version=4)
    text = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    assert text.count("**Predict.**") >= 3
    assert text.count("**Explain.**") >= 3
    assert text.count("<details>") >= 3
    assert any(solutions(cell) for cell in notebook.cells)
    outputs = [output.get("data", {}) for cell in notebook.cells for output in cell.get("outputs", ())]
    drawn = any("image/png" in data or "data:image/svg+xml" in data.get("text/html", "") for data in outputs)
    assert "```mermaid" in text or drawn


@LESSONS
def test_a_lesson_leads_to_the_next(path: Path):
    number = NOTEBOOKS.index(path)
    links = nbformat.read(path, as_version=4).cells[-1].source
    if number + 1 < len(NOTEBOOKS):
        assert f"]({NOTEBOOKS[number + 1].name})" in links
