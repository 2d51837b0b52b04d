"""pytest plugins of the whole suite (they may only be named at the root)."""

pytest_plugins = ("pytest_jupyter.jupyter_server",)
