"""Running a notebook as its reader would, and cleaning it for the repository."""

from __future__ import annotations

import os
import re
from pathlib import Path

import nbformat
from nbclient import NotebookClient

ROOT = Path(__file__).resolve().parent.parent.parent
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"
CELL_TIMEOUT_S = 60
_SOLUTION = re.compile(r"<details>.*?</details>", re.DOTALL)
_BLOCK = re.compile(r"^```(?:sql|python)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def solutions(cell: nbformat.NotebookNode) -> list[str]:
    """Return the code that a cell of exercises folds away, as a learner would paste it."""
    if cell.cell_type != "markdown":
        return []
    return [block for folded in _SOLUTION.findall(cell.source) for block in _BLOCK.findall(folded)]


def with_solutions(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """Put the solutions of exercises behind them, as cells."""
    solved = []
    for cell in notebook.cells:
        solved += [cell, *(nbformat.v4.new_code_cell(code) for code in solutions(cell))]
    notebook.cells = solved
    return notebook


def execute(path: Path, *, solved: bool = False) -> nbformat.NotebookNode:
    """Return the notebook with the outputs of a fresh kernel, in which the engine is embedded.

    Parameters
    ----------
    path : Path
    solved : bool
        Whether to run the exercises' solutions, too.

    Raises
    ------
    CellExecutionError
        If a cell fails that is not tagged ``raises-exception``.
    """
    notebook = nbformat.read(path, as_version=4)
    if solved:
        notebook = with_solutions(notebook)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(("KALAM_", "JPY_"))}
    client = NotebookClient(
        notebook,
        timeout=CELL_TIMEOUT_S,
        kernel_name="python3",
        store_widget_state=False,
        record_timing=False,
        resources={"metadata": {"path": str(path.parent)}},
    )
    client.execute(env=inherited, cleanup_kc=True)
    return notebook


def clean(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """Leave what a reader without a kernel can see: no widget state, no widget views, no machine's traces."""
    notebook.metadata = nbformat.from_dict(
        {
            "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
            "language_info": {"name": "python"},
        }
    )
    for cell in notebook.cells:
        if cell.cell_type != "code":
            continue
        cell.metadata = nbformat.from_dict({k: v for k, v in cell.metadata.items() if k == "tags"})
        cell.outputs = [o for o in cell.outputs if o.output_type != "stream" or o.name != "stderr"]
        cell.outputs = [o for o in cell.outputs if set(o.get("data", ("",))) != {WIDGET_VIEW}]
    return notebook
