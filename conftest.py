"""What may only be said at the root: the suite's pytest plugins, and how hypothesis runs."""

from hypothesis import settings

pytest_plugins = ("pytest_jupyter.jupyter_server",)

# A shared machine may be slow for one example: time is no property of ours.
settings.register_profile("kalam", deadline=None, print_blob=True)
settings.load_profile("kalam")


def pytest_collection_modifyitems(items: list) -> None:
    """Run the browser tests last: Playwright's event loop, once begun, is in the way of others'."""
    items.sort(key=lambda item: item.nodeid.startswith("tests/browser/"))
