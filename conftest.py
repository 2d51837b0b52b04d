"""What may only be said at the root: the suite's pytest plugins, and how hypothesis runs."""

import signal

import pytest
from hypothesis import settings
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

pytest_plugins = ("pytest_jupyter.jupyter_server",)

# A shared machine may be slow for one example: time is no property of ours.
settings.register_profile("kalam", deadline=None, print_blob=True)
settings.load_profile("kalam")


#: What takes longest, and in one process: the other one does everything else meanwhile.
TOGETHER = "tests/browser/"


class ByFile(LoadScopeScheduling):
    """With ``-n 2``: the tests of a file stay in one process, and all those with Chromium in one."""

    def _split_scope(self, nodeid: str) -> str:
        return TOGETHER if nodeid.startswith(TOGETHER) else nodeid.partition("::")[0]


def pytest_configure() -> None:
    """Let interrupts interrupt: a shell starts what is in the background so that they do nothing."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> ByFile:
    return ByFile(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what takes longest."""
    items.sort(key=lambda item: not item.nodeid.startswith(TOGETHER))
