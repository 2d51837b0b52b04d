"""What may only be said at the root: the suite's pytest plugins, and how hypothesis runs."""

import pytest
from hypothesis import settings

pytest_plugins = ("pytest_jupyter.jupyter_server",)

# A shared machine may be slow for one example: time is no property of ours.
settings.register_profile("kalam", deadline=None, print_blob=True)
settings.load_profile("kalam")


#: What takes longest, and in one process: the other one does everything else meanwhile.
TOGETHER = "tests/browser/"


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep the tests of a file in one process (``-n 2 --dist loadgroup``), and those with Chromium, first."""
    items.sort(key=lambda item: not item.nodeid.startswith(TOGETHER))
    for item in items:
        group = TOGETHER if item.nodeid.startswith(TOGETHER) else item.nodeid.partition("::")[0]
        item.add_marker(pytest.mark.xdist_group(group))
