#!/usr/bin/env python3
"""Runs `tributary bench engine` and the same two queries over the same rows in DuckDB, on one thread, one after the
other, and prints the figures of both. Fails when the two do not count the same.

    python3 -m venv venv && venv/bin/pip install duckdb
    venv/bin/python deploy/bench/yardstick.py --tributary target/release/tributary --rows 20000000

DuckDB reads a whole table that is in its memory already and knows all groups at the end; Tributary takes batches of
10,000 rows as they come, and its windows can be read after each of them.
"""

import argparse
import json
import subprocess
import sys
import time

import duckdb

# the formulas of deploy/src/bench/engine/rows.rs
ROWS = """
    CREATE OR REPLACE TABLE readings AS
    SELECT make_timestamp((r * 1000 // 10000) * 1000) AS ts,
           printf('device-%04d', r * 617 % 1000) AS device,
           r * 7919 % 1000 AS i,
           (r * 7919 % 1000) / 10.0::DOUBLE AS f
    FROM range({rows}) AS numbers(r)
"""
PLAIN = "count(*) AS n, sum(i) AS s, min(i) AS lo, max(i) AS hi"
SKETCHES = PLAIN + ", approx_quantile(f, 0.99) AS p99, approx_count_distinct(i) AS distinct_values"


def query(connection, columns, rows):
    """Seconds of the best of three runs, and what the first minute adds up to."""
    connection.execute(ROWS.format(rows=rows))
    sql = f"""CREATE OR REPLACE TABLE windows AS
              SELECT date_trunc('minute', ts) AS window_start, device, {columns} FROM readings GROUP BY ALL"""
    best = None
    for _ in range(3):
        start = time.perf_counter()
        connection.execute(sql)
        spent = time.perf_counter() - start
        best = spent if best is None else min(best, spent)
    first = "window_start < make_timestamp(60000000)"
    groups, = connection.execute("SELECT count(*) FROM windows").fetchone()
    n, s = connection.execute(f"SELECT sum(n), sum(s) FROM windows WHERE {first}").fetchone()
    return {"rows_per_s": rows / best, "groups": groups, "checked_rows": int(n), "checked_sum": int(s)}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tributary", required=True, help="the program")
    parser.add_argument("--rows", type=int, default=20_000_000)
    parser.add_argument("--max-groups", type=int, default=1_000_000)
    args = parser.parse_args()

    command = [args.tributary, "bench", "engine", "--json", "--rows", str(args.rows)]
    command += ["--max-groups", str(args.max_groups)]
    ours = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)

    connection = duckdb.connect()
    connection.execute("SET threads = 1")
    wrong = []
    for name, columns, rows in [("plain", PLAIN, args.rows), ("sketches", SKETCHES, args.rows // 4)]:
        theirs = query(connection, columns, rows)
        for figure in ["groups", "checked_rows", "checked_sum"]:
            if ours[name][figure] != theirs[figure]:
                wrong.append(f"{name}: {figure} is {ours[name][figure]}, in DuckDB {theirs[figure]}")
        print(f"{name:9} {rows:>11,} rows, {theirs['groups']:>7,} groups: tributary "
              f"{ours[name]['rows_per_s'] / 1e6:6.1f} M rows/s, DuckDB {duckdb.__version__} "
              f"{theirs['rows_per_s'] / 1e6:6.1f} M rows/s")
    print(json.dumps(ours))
    if wrong:
        sys.exit("\n".join(wrong))


if __name__ == "__main__":
    main()
