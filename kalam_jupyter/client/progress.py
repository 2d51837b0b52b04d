"""Outputs of a notebook that say how far long work is, replaced in place and gone, or one line, at its end.

Only a kernel has such outputs: without one (a terminal, a script) nothing here shows anything.
"""

from __future__ import annotations

import contextvars
import html
import sys
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from IPython.display import DisplayHandle

#: Work that takes less, in seconds, is not worth a line.
PATIENCE_S = 0.7
#: Seconds between two looks of the same output.
EVERY_S = 0.25

Bundle = dict[str, str]
_NOTHING: Bundle = {"text/html": "", "text/plain": ""}
_STYLE = "color:var(--jp-ui-font-color2,GrayText);font-variant-numeric:tabular-nums;color-scheme:light dark"


def in_kernel() -> bool:
    """Whether outputs of this process go to a notebook."""
    ipython = sys.modules.get("IPython")
    return ipython is not None and getattr(ipython.get_ipython(), "kernel", None) is not None


class Output:
    """One output that can be replaced, from any thread."""

    def __init__(self) -> None:
        self._handle: DisplayHandle | None = None

    @property
    def shown(self) -> bool:
        """Whether it was shown and not cleared since."""
        return self._handle is not None

    def show(self, bundle: Bundle) -> None:
        """Show it in the cell that runs."""
        from IPython.display import DisplayHandle

        if self._handle is None:
            self._handle = DisplayHandle()
        self._handle.display(bundle, raw=True)

    def update(self, bundle: Bundle) -> None:
        """Replace it wherever it was shown."""
        if self._handle is not None:
            self._handle.update(bundle, raw=True)

    def clear(self) -> None:
        """Leave nothing to see, and nothing to read in the saved notebook."""
        self.update(_NOTHING)
        self._handle = None


class Waiting:
    """While its block runs for long, a line says so; the line goes with the block.

    Parameters
    ----------
    what : str
        What runs, for people.
    figures : callable
        Called in a thread, a few times a second: what is known of how far it is; "" when nothing is.
    pause : callable, optional
        Waits so many seconds and returns whether the block has ended meanwhile; for tests.
    clock : callable, optional
        Tells seconds; for tests.
    """

    def __init__(
        self,
        what: str,
        figures: Callable[[], str] = lambda: "",
        *,
        pause: Callable[[float], bool] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._what, self._figures = what, figures
        self._clock, self._began = clock, clock()
        self._ended, self._lock, self._output = threading.Event(), threading.Lock(), Output()
        self._pause = pause or self._ended.wait

    def __enter__(self) -> Waiting:
        if in_kernel():
            # In this context the kernel knows which cell the line belongs to.
            context = contextvars.copy_context()
            threading.Thread(
                target=context.run, args=(self._run,), name="kalam-progress", daemon=True
            ).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        with self._lock:
            self._ended.set()
            self._output.clear()

    def _run(self) -> None:
        pause = PATIENCE_S
        while not self._pause(pause):
            bundle = waiting_line(self._what, self._clock() - self._began, self._figures())
            with self._lock:
                if self._ended.is_set():
                    return
                (self._output.update if self._output.shown else self._output.show)(bundle)
            pause = EVERY_S


def waiting_line(what: str, seconds: float, figures: str) -> Bundle:
    """Return the line that says what runs, since when and how far it is."""
    said = " · ".join(
        part for part in (f"{seconds:,.0f} s", figures, "interrupt the kernel to stop it") if part
    )
    code = f'<code style="color:inherit;background:none">{html.escape(what)}</code>'
    return {
        "text/html": f'<div class="klt-waiting" style="{_STYLE}">{code} · {html.escape(said)}</div>',
        "text/plain": f"{what} · {said}",
    }


def bar(done: int, total: int, seconds: float) -> Bundle:
    """Return a progress bar of rows on their way."""
    rate = done / seconds if seconds > 0 else 0.0
    parts = [f"sent {done:,} of {total:,} rows"]
    if rate > 0:
        parts += [f"{rate:,.{0 if rate >= 10 else 1}f} rows/s", f"{_span((total - done) / rate)} left"]
    said = " · ".join(parts)
    element = f'<progress value="{done}" max="{max(total, 1)}"></progress> '
    return {
        "text/html": f'<div class="klt-progress" style="{_STYLE}">{element}{said}</div>',
        "text/plain": said,
    }


def line(text: str) -> Bundle:
    """Return what stays when it is over."""
    return {"text/html": f"<div>{html.escape(text)}</div>", "text/plain": text}


def _span(seconds: float) -> str:
    whole = round(seconds)
    if whole < 120:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"
