#!/usr/bin/env python3
"""Writes the README's table of figures from the newest kept run of `make bench-compare` on each dataset.

    figures.py [--check]      --check writes nothing and fails where the README says something else

The table stands between two comments and nothing else in the README is touched. Standard library alone.
"""
import argparse
import json
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BEGIN, END = "<!-- figures: benches/compare/figures.py -->", "<!-- end of figures -->"
ORDER = ["glove", "sentences", "glosses"]


def newest(folder):
    """Dataset -> its newest run that was not made short."""
    runs = {}
    for path in sorted(folder.glob("????-??-??-compare-*.json")):
        doc = json.loads(path.read_text())
        if not doc["short"]:
            runs[doc["data"]["name"]] = path, doc
    return dict(sorted(runs.items(), key=lambda run: (ORDER + [run[0]]).index(run[0])))


def measured(row):
    """The values of a row as one cell: "0.95: 2.31, 0.99: 1.87"."""
    def shown(v):
        x = v["value"]
        text = "not reached" if x is None else f"{x:.{3 if x < 1.3 else 2 if x < 10 else 1}f}"
        return f"{v['at']}: {text}" if v["at"] else text
    return ", ".join(map(shown, row["measured"])) + ("" if row["met"] else " (**missed**)")


def table(runs):
    if not runs:
        return ["No run of `make bench-compare` is kept yet."]
    heads = [f"{name}, {doc['data']['n']:,} x {doc['data']['dim']}" for name, (_, doc) in runs.items()]
    lines = ["| what | goal | " + " | ".join(heads) + " |", "|" + "---|" * (2 + len(runs))]
    cells = [{(row["what"], row["goal"]): measured(row) for row in doc["goals"]} for _, doc in runs.values()]
    for what, goal in dict.fromkeys(key for column in cells for key in column):
        lines.append(f"| {what} | {goal} | " + " | ".join(column.get((what, goal), "") for column in cells) + " |")
    lines.append("")
    for name, (path, doc) in runs.items():
        commits = ", ".join(dict.fromkeys(part["commit"] for part in doc["parts"].values()))
        lines.append(f"{name}: [{doc['date']}]({path.with_suffix('.md').relative_to(ROOT)}), commit {commits}, {doc['machine']}; "
                     f"faiss {doc['faiss']}.")
    return lines


def main():
    ap = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    ap.add_argument("--check", action="store_true")
    ap.add_argument("--results", type=Path, default=ROOT / "benches" / "results")
    ap.add_argument("--readme", type=Path, default=ROOT / "README.md")
    a = ap.parse_args()
    text = a.readme.read_text()
    before, _, rest = text.partition(BEGIN)
    _, found, after = rest.partition(END)
    if not found:
        sys.exit(f"{a.readme} lacks the comments {BEGIN} and {END}")
    made = "\n".join([before + BEGIN, *table(newest(a.results)), END + after])
    if a.check and made != text:
        sys.exit(f"the figures of {a.readme.name} are not those of {a.results.name}: make figures")
    if not a.check:
        a.readme.write_text(made)


if __name__ == "__main__":
    main()
