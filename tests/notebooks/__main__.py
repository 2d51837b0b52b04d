"""``python -m tests.notebooks [NAME ..]``: run notebooks and write their outputs back into them."""

from __future__ import annotations

import sys

import nbformat

from .run import NOTEBOOKS, clean, execute

for path in NOTEBOOKS:
    if not sys.argv[1:] or path.stem in sys.argv[1:]:
        nbformat.write(clean(execute(path)), path)
        print(path.name)
