"""`python -m bench.document`: the figures of bench/results.json become the table in docs/performance.md."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

BEGIN, END = "<!-- figures: written by python -m bench.document -->", "<!-- end of figures -->"
ROOT = Path(__file__).parent.parent


def table(content: dict[str, Any]) -> str:
    """Markdown: the machine, then a line for each thing measured, the programs beside each other."""
    about = content["machine"]
    lines = [
        f"Measured {content['date']} on {about['processor']}, {about['cores']} cores, {about['memory']}, "
        f"{about['system']}, Python {about['python']}; load before: {about['load before']:.2f}.",
        "",
        "| what | median (lowest–highest) | ours beside it | goal | |",
        "|---|---|---|---|---|",
    ]
    said = ""
    for row in content["rows"]:
        what, said = (f"**{row['what']}**" if row["what"] != said else ""), row["what"]
        figure = f"{row['who']} {row['median']:.1f}{row['unit']} ({row['low']:.1f}–{row['high']:.1f})"
        ratio = f"{row['ratio']:.2f}×" if row["ratio"] is not None else ""
        met = {True: "reached", False: "missed", None: ""}[row["met"]]
        lines.append(f"| {what} | {figure} | {ratio} | {row['goal']} | {met} |")
    return "\n".join(lines)


def main() -> None:
    path = ROOT / "docs" / "performance.md"
    before, _, rest = path.read_text().partition(BEGIN)
    after = rest.partition(END)[2]
    found = table(json.loads((ROOT / "bench" / "results.json").read_text()))
    path.write_text(f"{before}{BEGIN}\n\n{found}\n\n{END}{after}")


if __name__ == "__main__":
    main()
