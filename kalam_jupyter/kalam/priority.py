"""Work that nobody waits for, and that may take long, gives way to all other."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from typing import Final

_LOWEST: Final = 19


def give_way(thread: threading.Thread) -> None:
    """Let a thread, and those it starts from now on, run only where nobody else wants the processor.

    That is for systems where threads have priorities of their own; elsewhere nothing happens.
    """
    if sys.platform == "linux" and thread.native_id is not None:
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, thread.native_id, _LOWEST)
