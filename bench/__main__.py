"""`python -m bench [--only NAME]... [--rounds N]`"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from bench import associations, large_object
from bench.results import Row, keep, show

BENCHES = {"associations": associations.run, "large_object": large_object.run}


def main() -> None:
    parser = argparse.ArgumentParser(prog="make bench")
    parser.add_argument("--only", choices=BENCHES, action="append", help="one bench; may be repeated")
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="pacskit-bench-") as work:
        for name in arguments.only or BENCHES:
            sys.stdout.write(f"{name} ...\n")
            sys.stdout.flush()
            found = BENCHES[name](Path(work), arguments.rounds)
            sys.stdout.write(show(found) + "\n")
            rows += found
    keep(rows, Path(__file__).parent / "results.json")


if __name__ == "__main__":
    main()
