"""``%%ksql`` and ``%%kalam``, and what belongs to them: parameters, subcommands, completion, short errors."""

from __future__ import annotations

from typing import Any

_MATCHER = "_kalam_jupyter_matcher"
_PANEL = "_kalam_jupyter_panel"


def load(shell: Any) -> None:
    """Register magics, completion and ``df.kalam`` with an IPython shell. Idempotent."""
    from kalam_jupyter.client.connections import connections
    from kalam_jupyter.magics.accessor import register
    from kalam_jupyter.magics.commands import COMMANDS
    from kalam_jupyter.magics.completion import make_matcher
    from kalam_jupyter.magics.magic import KalamMagics
    from kalam_jupyter.magics.panel import open_channel

    if hasattr(shell, _MATCHER):
        return
    shell.register_magics(KalamMagics(shell))
    matcher = make_matcher(connections, COMMANDS)
    setattr(shell, _MATCHER, matcher)
    shell.Completer.custom_matchers.append(matcher)
    register()
    setattr(shell, _PANEL, open_channel(connections))


def unload(shell: Any) -> None:
    """Take magics and completion away, stop live tables and close the connections."""
    from kalam_jupyter.client.connections import connections
    from kalam_jupyter.widgets import live_widgets

    matcher = getattr(shell, _MATCHER, None)
    if matcher is None:
        return
    delattr(shell, _MATCHER)
    if (panel := getattr(shell, _PANEL)) is not None:
        panel.close()
    shell.Completer.custom_matchers.remove(matcher)
    for kind in ("line", "cell"):
        for name in ("ksql", "kalam"):
            shell.magics_manager.magics[kind].pop(name, None)
    for table in live_widgets():
        table.stop()
    connections.close()
