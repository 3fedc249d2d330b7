"""`python -m bench [--only NAME]... [--rounds N]`"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from bench import associations, busy, idle, index, large_object, secure, store
from bench.places import in_memory
from bench.results import Row, goals, keep, machine, show

BENCHES = {
    "associations": (associations.run,),
    "index": (index.run,),
    "large_object": (large_object.run,),
    "secure": (secure.run,),
    "store": (store.run, idle.run, busy.run),
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="make bench")
    parser.add_argument("--only", choices=BENCHES, action="append", help="one bench; may be repeated")
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    rows: list[Row] = []
    about = machine()
    for name in arguments.only or BENCHES:
        sys.stdout.write(f"{name} ...\n")
        sys.stdout.flush()
        began = time.monotonic()
        for run in BENCHES[name]:
            with in_memory() as work:
                found = run(work, arguments.rounds)
            sys.stdout.write(show(found) + "\n")
            sys.stdout.flush()
            rows += found
        sys.stdout.write(f"{name}: {time.monotonic() - began:.0f} s\n")
    sys.stdout.write(goals(rows) + "\n")
    keep(rows, about, Path(__file__).parent / "results.json")


if __name__ == "__main__":
    main()
