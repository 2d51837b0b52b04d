"""What the server extension adds to Jupyter Server: seconds until it answers, and memory at rest."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request

import psutil

from tests.benchmarks.report import Report


def start(port: int, enabled: bool) -> tuple[float, float]:
    """Start a server, wait for its status route, and return (seconds, resident MB)."""
    with tempfile.TemporaryDirectory() as home:
        environment = {**os.environ, "JUPYTER_CONFIG_DIR": home, "JUPYTER_DATA_DIR": home, "IPYTHONDIR": home}
        command = [
            *(sys.executable, "-m", "jupyter_server", "--no-browser", "--allow-root", f"--port={port}"),
            *("--ServerApp.token=t", f"--ServerApp.root_dir={home}", "--ServerApp.open_browser=False"),
            f"--ServerApp.jpserver_extensions={{'kalam_server': {enabled}}}",
        ]
        begin = time.perf_counter()
        server = subprocess.Popen(
            command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            while True:
                try:
                    urllib.request.urlopen(f"http://127.0.0.1:{port}/api/status?token=t", timeout=5).read()
                    break
                except OSError:
                    if server.poll() is not None:
                        raise RuntimeError(f"the server ended with {server.returncode}") from None
                    time.sleep(0.01)
            seconds = time.perf_counter() - begin
            time.sleep(1)
            memory = psutil.Process(server.pid).memory_info().rss / 2**20
        finally:
            server.terminate()
            server.wait(20)
    return seconds, memory


def main() -> int:
    report = Report("server start")
    plain, extended = [], []
    for i in range(5):
        plain.append(start(18970 + i, False))
        extended.append(start(18980 + i, True))
    seconds = statistics.median(s for s, _ in extended) - statistics.median(s for s, _ in plain)
    memory = statistics.median(m for _, m in extended) - statistics.median(m for _, m in plain)
    report.add("Jupyter Server alone, start", statistics.median(s for s, _ in plain), "s")
    report.add("the extension adds to the start", seconds, "s", "< 0.5", seconds < 0.5)
    report.add("the extension adds at rest", memory, "MB", "< 150", memory < 150)
    return report.finish()


if __name__ == "__main__":
    raise SystemExit(main())
