"""Asks DuckDB what views should have said, and compares.

    python duckdb_check.py DIRECTORY

The directory has `rows.jsonl`, the events of all cases, and `cases.jsonl`: for each case its view, DuckDB's question, and
the view's rows: the window's bounds, the keys, then amounts, each of a kind that says how it is compared. The bounds are
those of docs/sql.md. Exits with 1 when a case differs.
"""

import collections
import datetime
import decimal
import json
import math
import pathlib
import sys

import duckdb

COLUMNS = {
    "seed": "BIGINT",
    "arrived": "BIGINT",
    "ms": "BIGINT",
    "i": "BIGINT",
    "k": "BIGINT",
    "f": "DOUBLE",
    "s": "VARCHAR",
    "d": "VARCHAR",
    "b": "BOOLEAN",
    "doc": "JSON",
    "wide": "BIGINT",
    "v": "DOUBLE",
}
# sums of floats depend on their order
TOLERANCE = 1e-9
# seconds since 1970 have seven digits that are the same, which are lost
SPREAD_TOLERANCE = 1e-6
# an estimate is within its bound in this share of cases, and never twice as far off
CONFIDENCE = 0.997
SHOWN = 5


def number(value):
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def plain(value):
    """As the view says it."""
    if isinstance(value, decimal.Decimal):
        return float(value)
    if isinstance(value, bool):
        return int(value)
    return value


def same(ours, theirs, tolerance=TOLERANCE):
    theirs = plain(theirs)
    if number(ours) and number(theirs):
        return abs(ours - theirs) <= tolerance * max(abs(ours), abs(theirs), 1.0)
    return ours == theirs


class Estimates:
    """How often an estimate was beyond its bound."""

    def __init__(self):
        self.made = 0
        self.beyond = 0

    def check(self, ours, exact, exact_up_to):
        if exact <= exact_up_to:
            return ours == exact
        self.made += 1
        error = abs(ours - exact) / exact
        self.beyond += error > 0.05
        return error <= 0.1

    def ok(self):
        expected = (1 - CONFIDENCE) * self.made
        return self.beyond <= expected + 3 * math.sqrt(expected) + 1


def percentile(ours, theirs):
    exact = theirs["exact"]
    if ours is None or exact is None:
        return ours is None and exact is None
    if theirs["count"] <= 32:
        return same(ours, exact)
    # of neighbours in rank either is the quantile, and what lies between
    low, high = sorted([exact, theirs["disc"]])
    return low - abs(low) * 0.01 - 1e-9 <= ours <= high + abs(high) * 0.01 + 1e-9


def top(ours, theirs):
    exact = theirs["counts"]
    if not ours or not exact:
        return (ours is None or json.loads(ours) == []) and not exact
    listed = json.loads(ours)
    counts = [item["count"] for item in listed]
    most = sorted(exact.values(), reverse=True)[: theirs["k"]]
    if len({item["value"] for item in listed}) != len(most) or counts != sorted(counts, reverse=True):
        return False
    error = 0 if len(exact) <= 896 else sum(exact.values()) * 0.0023
    # each is counted within the bound, and what is not listed is no more frequent than what is
    right = (exact.get(item["value"], 0) for item in listed)
    return all(0 <= count - item["count"] <= error for count, item in zip(right, listed)) and all(
        abs(a - b) <= error for a, b in zip(counts, most)
    )


def key(row, keys):
    return tuple(plain(value) for value in row[: 2 + keys])


class Check:
    def __init__(self, directory):
        self.estimates = Estimates()
        self.compared = collections.Counter()
        self.db = duckdb.connect()
        self.db.execute("SET threads = 1; SET error_on_division_by_zero = false; SET TimeZone = 'UTC'")
        columns = ", ".join(f"'{name}': '{of}'" for name, of in COLUMNS.items())
        source = f"read_json('{directory / 'rows.jsonl'}', format = 'newline_delimited', columns = {{{columns}}})"
        self.db.execute(f"CREATE TABLE events AS SELECT *, make_timestamp(ms * 1000) AS ts FROM {source}")

    def value(self, kind, ours, theirs):
        self.compared[kind] += 1
        if kind == "spread":
            return same(ours, theirs, SPREAD_TOLERANCE)
        if kind == "percentile":
            self.compared["percentile of a sketch"] += theirs["count"] > 32
            return percentile(ours, theirs)
        if kind == "top":
            self.compared["top of many"] += len(theirs["counts"] or []) > 896
            return top(ours, theirs)
        if kind == "distinct":
            return self.estimates.check(ours, theirs, 1000)
        if kind == "approx_distinct":
            return self.estimates.check(ours, theirs, 128)
        return same(ours, theirs)

    def differs(self, case):
        """What is wrong, or nothing."""
        self.db.execute(f"CREATE OR REPLACE TEMP TABLE readings AS SELECT * FROM events WHERE seed = {case['seed']}")
        try:
            theirs = self.db.execute(case["theirs"]).fetchall()
        except duckdb.Error as error:
            return f"DuckDB: {error}", []
        keys = case["keys"]
        found = {key(row, keys): row for row in case["ours"]}
        expected = {key(row, keys): row for row in theirs}
        if len(found) != len(case["ours"]) or len(expected) != len(theirs):
            return "two rows have one name", theirs
        if found.keys() != expected.keys():
            return f"only ours: {found.keys() - expected.keys()}, only theirs: {expected.keys() - found.keys()}", theirs
        for name, row in found.items():
            for at, kind in enumerate(case["kinds"], 2 + keys):
                if not self.value(kind, row[at], expected[name][at]):
                    return f"a{at - 2 - keys} of {name}: {row[at]!r}, DuckDB: {expected[name][at]!r}", theirs
        return None, theirs

    def tell(self, case, why, theirs):
        print(f"case {case['seed']}: {why}\nview: {case['view']}\nDuckDB: {case['theirs']}\nrows:")
        rows = self.db.execute("SELECT * EXCLUDE (seed) FROM readings ORDER BY arrived")
        print("  " + ", ".join(column[0] for column in rows.description))
        for row in rows.fetchall()[:100]:
            print("  " + ", ".join(v.isoformat() if isinstance(v, datetime.datetime) else repr(v) for v in row))
        for name, answer in [("ours", case["ours"]), ("DuckDB's", theirs)]:
            print(f"{name}:")
            for row in sorted(answer, key=repr)[:100]:
                print(f"  {list(row)}")


def main():
    directory = pathlib.Path(sys.argv[1])
    check = Check(directory)
    failed = cases = 0
    for line in (directory / "cases.jsonl").open(encoding="utf-8"):
        case = json.loads(line)
        cases += 1
        why, theirs = check.differs(case)
        if why:
            failed += 1
            if failed <= SHOWN:
                check.tell(case, why, theirs)
            else:
                print(f"case {case['seed']}: {why}\nview: {case['view']}")
    made, beyond = check.estimates.made, check.estimates.beyond
    print(", ".join(f"{times} {kind}" for kind, times in sorted(check.compared.items())))
    print(f"{cases} cases, {failed} differ; {made} estimates, {beyond} of them beyond 5 %")
    return 1 if failed or not check.estimates.ok() else 0


if __name__ == "__main__":
    sys.exit(main())
