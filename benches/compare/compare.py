#!/usr/bin/env python3
"""cyborg beside its peers on a public dataset, through the C ABI, in one run.

    compare.py --lib target/release/libcyborg.so --data DIR [DIR ...] [--out benches/results] [--quick]
               [--parts search train build memory]

search (search.py), train (trainings.py), build and memory (builds.py) are measured by themselves and may be run again alone:
what the file of the same day and dataset holds of other parts is kept, and each part says which commit it is of. Every
figure is a ratio to a peer that did the same work in turns with us, or has its goal (goals.py). Writes
DATE-compare-NAME.json and .md; DATE-compare-NAME-short where --quick or --rows made it short, which figures.py leaves out.
"""
import blas  # first: numpy and faiss read what it sets
import argparse
import json
import tempfile
import time
from pathlib import Path

import faiss

import builds
import capi
import search
import trainings
from common import head_lines, heading, load, say, write
from dataset import Dataset
from figures import measured
from goals import goals

# What measures a part, what shows it, its title.
PARTS = dict(
    search=(lambda a, api, data, folder: search.measure(a, api, data), search.tables, "Search at equal recall"),
    train=(trainings.measure, trainings.tables, "Training"),
    build=(builds.measure, builds.tables, "Whole build"),
    memory=(builds.measure_memory, builds.memory_tables, "Memory"))


def report(doc):
    lines = [f"# cyborg beside its peers on {doc['data']['name']}, {doc['date']}", "", *head_lines(doc),
             "- peers: " + ", ".join(f"{name} {version}" for name, version in doc["peers"].items())
             + f"; faiss was compiled with {doc['faiss_options']}",
             f"- data: {doc['data']['n']:,} x {doc['data']['dim']}, cosine ({doc['data']['recipe']})",
             "", "| what | goal | measured | |", "|---|---|---|---|"]
    for row in doc["goals"]:
        notes = dict.fromkeys(v["note"] for v in row["measured"] if v["note"])
        beside = f" ({'; '.join(notes)})" if notes else ""
        lines.append(f"| {row['what']} | {row['goal']} | {measured(row).removesuffix(' (**missed**)')}{beside} | "
                     f"{'met' if row['met'] else '**missed**'} |")
    for name, (_, tables, title) in PARTS.items():
        if part := doc["parts"].get(name):
            lines += ["", f"## {title}", "", *tables(part["results"]), "",
                      f"commit {part['commit']}, {part['seconds']:.0f} s, load {part['load']}; `{part['command']}`"]
            lines += ["", part["note"]] if "note" in part else []
    return "\n".join(lines) + "\n"


def kept(a, doc, name):
    """The parts that an earlier run of the day left in the file, if it was of the same vectors and machine."""
    path = a.out and a.out / f"{doc['date']}-{name}.json"
    if not path or not path.exists():
        return {}
    old = json.loads(path.read_text())
    return old["parts"] if all(old[f] == doc[f] for f in ("machine", "data", "faiss", "short")) else {}


def run(a, api, data):
    from importlib.metadata import version
    doc = dict(heading(api), short=a.quick or bool(a.rows), data=dict(data.info, name=data.name, n=data.n),
               peers={name: version(name) for name in ("hnswlib", "usearch", "superkmeans")},
               faiss_options=" ".join(faiss.get_compile_options().split()) + f"; OpenBLAS kernels {blas.CORE}")
    name = f"compare-{data.name}{'-short' if doc['short'] else ''}"
    doc["parts"] = kept(a, doc, name)
    for part in a.parts:
        began, before = time.perf_counter(), load()
        with tempfile.TemporaryDirectory(dir=a.dir) as folder:
            results = PARTS[part][0](a, api, data, Path(folder))
        doc["parts"][part] = dict(commit=doc["commit"], command=doc["command"], load=f"{before} to {load()}",
                                  seconds=time.perf_counter() - began, results=results)
        doc["load"], doc["goals"] = load(), goals(doc["parts"])
        write(a.out, doc, report(doc), name)
        say(f"{part}: {doc['parts'][part]['seconds']:.0f} s")
    print(report(doc))


def main():
    ap = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    ap.add_argument("--lib", required=True, type=Path)
    ap.add_argument("--data", required=True, type=Path, nargs="+")
    ap.add_argument("--out", type=Path)
    ap.add_argument("--dir", help="where the stores are made: a folder on the disk to measure", default=None)
    ap.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    ap.add_argument("--rows", type=int, help="that many vectors of each dataset")
    ap.add_argument("--threads", type=int, default=2)
    ap.add_argument("--targets", type=float, nargs="+", default=[0.90, 0.95, 0.99])
    ap.add_argument("--queries", type=int, default=5000)
    ap.add_argument("--tune", type=int, default=1000, help="most queries that settings are searched on")
    ap.add_argument("--batch", type=int, default=1000, help="queries of a batch")
    ap.add_argument("--rounds", type=int, default=5)
    ap.add_argument("--seconds", type=float, default=0.5, help="of one timing")
    ap.add_argument("--trainings", type=int, default=3)
    ap.add_argument("--builds", type=int, default=3)
    ap.add_argument("--leave-out", nargs="+", default=[], help="engines whose name holds one of these: slow ones, once a "
                    "run with all has shown that no ratio is to them")
    ap.add_argument("--quick", action="store_true", help="two peers, 2,000 queries, short rounds, one training and build")
    a = ap.parse_args()
    if a.quick:
        a.queries, a.tune, a.rounds, a.seconds, a.trainings, a.builds = 2000, 500, 2, 0.2, 1, 1
    a.lib, a.targets = a.lib.resolve(), sorted(a.targets)
    faiss.omp_set_num_threads(a.threads)
    api = capi.Api(a.lib)
    for path in a.data:
        run(a, api, Dataset(path, a.rows))


if __name__ == "__main__":
    main()
