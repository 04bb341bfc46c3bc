#!/usr/bin/env python3
"""What quantizer AUTO should take: every quantizer's queries a second on one thread at equal recall, by dataset and size.

    auto.py --lib target/release/libcyborg.so --data DIR [DIR ...] [--sizes 20000 100000 0] [--minutes 60] [--out benches/results]

For each dataset, size (0 = all) and quantizer the index is trained as the library does by default (n_lists 0); for each
target the quickest pair of n_probes and rerank_mult that reaches recall@10 is searched: of each rerank_mult the fewest
probes, up to the rerank_mult after which two more were slower. Those settings are then timed in turns with the reference's
(sq8, the same index size), and the ratio of the two is what to read: it stands on a busy machine too. Sizes go
from the smallest to the largest over all datasets; what the time does not allow is named in the report.
"""
import blas  # first: numpy and faiss read what it sets
import argparse
import tempfile
import time
from pathlib import Path
from statistics import median

import capi
from common import QUANTIZERS, head_lines, heading, load, number, say, upsert_all, write
from dataset import Dataset
from engines import Ours, create
from settings import first_single, quickest, singles

REFERENCE = "sq8"


def points(engine, data, queries, a):
    """target -> the quickest setting that reaches it, None where none does."""
    found = quickest(engine, data, queries, a.targets, dict(single=first_single(engine, queries)), a.threads)
    return {target: dict(probes=best["single"]["setting"]["n_probes"], rerank=best["single"]["setting"].get("rerank_mult", "own"),
                         qps=best["single"]["rate"], **best["single"]) if best else None for target, best in found.items()}


def in_turns(engines, settings, queries, a):
    """Queries a second of each engine with its setting, each the median of the rounds."""
    seen = [[] for _ in engines]
    for r in range(a.rounds):
        for engine, setting, rates in zip(engines, settings, seen):
            rates.append(singles(engine.caller(queries, setting), len(queries), a.seconds, 997 * r)[0])
    return [median(rates) for rates in seen]


def prepared(db, data, name):
    """An index trained as the library does by default, behind the face of an engine; the seconds of its job."""
    index = create(db, data.dim, name, name)
    upsert_all(index, data.base)
    phases = index.train()
    return Ours(name, name).over(index, index.describe().n_lists), phases["job"]


def measure(a, api, data, folder, deadline):
    queries = data.queries[:a.queries]
    options = dict(threads=a.threads)
    if a.sealed:
        options["cache_mode"] = api.CYBORG_CACHE_MODE_SEALED
    db = capi.Db(api, f"file:{folder}/auto.cyborg", **options)
    rows, reference, skipped = {}, None, []
    for name in a.only:
        if time.time() > deadline:
            skipped.append(f"{name} (out of time)")
            continue
        try:
            engine, job_s = prepared(db, data, name)
        except (AttributeError, capi.CyborgError) as failed:      # a row less, not the end of the run
            say(f"{name}: {failed}")
            skipped.append(f"{name} ({failed})")
            continue
        info = engine.index.describe()
        row = dict(lists=info.n_lists, code_bytes=info.code_bytes, job_s=job_s, points=points(engine, data, queries, a))
        for target, point in row["points"].items():
            if point and reference and (theirs := reference[1][target]):
                point["qps"], base = in_turns((engine, reference[0]), (point["setting"], theirs["setting"]), queries, a)
                point["ratio"] = point["qps"] / base
            elif point and name == REFERENCE:
                point["ratio"] = 1.0
        stats = engine.index.stats()
        row.update(memory=(stats.cache_bytes + stats.resident_bytes) / data.n, stored=stats.stored_bytes / data.n)
        rows[name] = row
        say(f"{data.name} {data.n:,} {name}: " + ", ".join(
            f"{t}: {p['qps']:,.0f}/s at {p['probes']} x{p['rerank']}" if p else f"{t}: never" for t, p in row["points"].items()))
        if name == REFERENCE:
            reference = engine, row["points"]
        else:
            engine.index.free()
    if reference:
        reference[0].index.free()
    db.close()
    return dict(quantizers=rows, skipped=skipped)


def report(doc):
    lines = [f"# Settings for quantizer AUTO, {doc['date']}", "", *head_lines(doc),
             f"- one query at a time on one thread, {'sealed' if doc['sealed'] else 'plain'} cache; ratio = queries a second "
             f"over those of {REFERENCE}, timed in turns; probes x rerank_mult"]
    for d in doc["datasets"]:
        rows, targets = d["quantizers"], doc["targets"]
        lines += ["", f"## {d['name']}, {d['n']:,} x {d['dim']}", "",
                  "| quantizer | lists | code bytes | memory a vector | job s |" +
                  "".join(f" QPS at {t} | ratio | setting |" for t in targets), "|" + "---|" * (5 + 3 * len(targets))]
        for name, x in rows.items():
            line = f"| {name} | {x['lists']} | {x['code_bytes']} | {number(x['memory'])} | {x['job_s']:.2f} |"
            for p in x["points"].values():
                line += f" {p['qps']:,.0f} | {p.get('ratio', 0):.2f} | {p['probes']} x{p['rerank']} ({p['recall']:.3f}) |" if p \
                    else " never | | |"
            lines.append(line)
        for t in targets:
            able = {name: x["points"][t]["ratio"] for name, x in rows.items() if x["points"][t] and "ratio" in x["points"][t]}
            order = sorted(able, key=able.get, reverse=True)[:4]
            lines += ["", f"quickest at {t}: " + ", ".join(f"{n} ({able[n]:.2f})" for n in order)]
        if d["skipped"]:
            lines += ["", f"not measured: {', '.join(d['skipped'])}"]
    return "\n".join(lines) + "\n"


def main():
    ap = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    ap.add_argument("--lib", required=True, type=Path)
    ap.add_argument("--data", required=True, type=Path, nargs="+")
    ap.add_argument("--out", type=Path)
    ap.add_argument("--dir", help="where the stores are made", default=None)
    ap.add_argument("--sizes", type=int, nargs="+", default=[20_000, 100_000, 0])
    ap.add_argument("--targets", type=float, nargs="+", default=[0.95, 0.99])
    ap.add_argument("--minutes", type=float, default=60)
    ap.add_argument("--threads", type=int, default=2)
    ap.add_argument("--queries", type=int, default=1000)
    ap.add_argument("--rounds", type=int, default=5)
    ap.add_argument("--seconds", type=float, default=0.3)
    ap.add_argument("--sealed", action="store_true", help="the cache keeps lists encrypted")
    ap.add_argument("--only", nargs="+", default=QUANTIZERS, choices=QUANTIZERS)
    a = ap.parse_args()
    a.lib = a.lib.resolve()
    a.only = [REFERENCE] + [name for name in QUANTIZERS if name in a.only and name != REFERENCE]     # the reference comes first
    api, deadline = capi.Api(a.lib), time.time() + 60 * a.minutes
    doc = dict(heading(api), targets=a.targets, sealed=a.sealed, datasets=[])
    for rows in sorted(a.sizes, key=lambda n: n or 2**62):
        for path in a.data:
            data = Dataset(path, rows or None)
            if rows and data.n < rows:
                continue        # the whole of it has its own turn
            with tempfile.TemporaryDirectory(dir=a.dir) as folder:
                result = measure(a, api, data, Path(folder), deadline)
            doc["datasets"].append(dict(name=data.name, n=data.n, dim=data.dim, **result))
            doc["load"] = load()
            write(a.out, doc, report(doc), "auto-sealed" if a.sealed else "auto")
    print(report(doc))


if __name__ == "__main__":
    main()
