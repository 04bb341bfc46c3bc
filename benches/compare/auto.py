#!/usr/bin/env python3
"""What quantizer AUTO should take: every quantizer's queries a second on one thread at equal recall, by dataset and size.

    auto.py --lib target/release/libcyborg.so --data DIR [DIR ...] [--sizes 20000 100000 0] [--minutes 60] [--out benches/results]

For each dataset, size (0 = all) and quantizer the index is trained as the library does by default (n_lists 0); for each
target the quickest pair of n_probes and rerank_mult that reaches recall@10 is searched: of each rerank_mult the fewest
probes, up to the rerank_mult after which two more were slower. Those settings are then timed in turns with the reference's
(sq8, the same index size), and the ratio of the two is what to read: it stands on a busy machine too. Sizes go
from the smallest to the largest over all datasets; what the time does not allow is named in the report.
"""
import argparse
import tempfile
import time
from pathlib import Path
from statistics import median

import capi
from common import KEY, QUANTIZERS, head_lines, heading, load, number, quantizer_options, say, upsert_all, write
from dataset import Dataset

K, REFERENCE = 10, "sq8"
RERANKS = [1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 64]


def rate(call, n, seconds, start=0):
    """Queries a second, one at a time."""
    i, began = start, time.perf_counter()
    while (passed := time.perf_counter() - began) < seconds:
        for _ in range(16):
            call(i % n)
            i += 1
    return (i - start) / passed


def fewest(index, data, queries, target, lists, rerank):
    """The fewest probes, to 4 %, that reach a recall with that rerank_mult, and the recall; None where the codes do not."""
    def recall(p):
        return data.recall(index.query(queries, K, n_probes=p, rerank_mult=rerank), K)

    low, high, last, at_low = 0, min(4, lists), -1.0, -1.0
    while (r := recall(high)) < target:
        if high == lists or (high >= 64 and r - at_low < 0.002 and target - r > 0.01):
            return None
        low, high, at_low = high, min(2 * high, lists), r
    last = r
    while high - low > max(1, low // 24):
        middle = (low + high) // 2
        r = recall(middle)
        if r >= target:
            high, last = middle, r
        else:
            low = middle
    return high, last


def quickest(index, data, queries, target, lists, reranks):
    """The quickest setting that reaches a recall: probes, rerank, recall, a first reading of the queries a second."""
    best, worse = None, 0
    for rerank in reranks:
        found = fewest(index, data, queries, target, lists, rerank)
        if found is None:
            continue
        probes, recall = found
        call = index.caller(queries, K, n_probes=probes, rerank_mult=rerank)
        rate(call, len(queries), 0.05)
        qps = median(rate(call, len(queries), 0.1, 331 * i) for i in range(3))
        if best is None or qps > best["qps"]:
            best, worse = dict(probes=probes, rerank=rerank, recall=recall, qps=qps), 0
        else:
            worse += 1
            if worse == 2:
                break
    return best


def in_turns(index, mine, other, theirs, queries, a):
    """Queries a second of two settings, each the median of the rounds."""
    calls = [i.caller(queries, K, n_probes=s["probes"], rerank_mult=s["rerank"]) for i, s in ((index, mine), (other, theirs))]
    seen = [[], []]
    for r in range(a.rounds):
        for call, rates in zip(calls, seen):
            rates.append(rate(call, len(queries), a.seconds, 997 * r))
    return median(seen[0]), median(seen[1])


def prepared(db, api, data, name):
    index = db.create(name, KEY, dimension=data.dim, metric=api.CYBORG_METRIC_COSINE, id_kind=api.CYBORG_ID_KIND_U64,
                      auto_train_disabled=1, **quantizer_options(api, name))
    upsert_all(index, data.base)
    return index, index.train()


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
            index, phases = prepared(db, api, data, name)
        except (AttributeError, capi.CyborgError) as failed:      # a row less, not the end of the run
            say(f"{name}: {failed}")
            skipped.append(f"{name} ({failed})")
            continue
        info = index.describe()
        row = dict(lists=info.n_lists, code_bytes=getattr(info, "code_bytes", 0), job_s=phases["job"], points={})
        for target in a.targets:
            point = quickest(index, data, queries, target, info.n_lists, [1] if name.startswith("flat") else RERANKS)
            if point and reference and reference[1][target]:
                point["qps"], base = in_turns(index, point, reference[0], reference[1][target], queries, a)
                point["ratio"] = point["qps"] / base
            elif point and name == REFERENCE:
                point["ratio"] = 1.0
            row["points"][target] = point
        stats = index.stats()
        row.update(memory=(stats.cache_bytes + stats.resident_bytes) / data.n, stored=stats.stored_bytes / data.n)
        rows[name] = row
        say(f"{data.name} {data.n:,} {name}: " + ", ".join(
            f"{t}: {p['qps']:,.0f}/s at {p['probes']} x{p['rerank']}" if p else f"{t}: never" for t, p in row["points"].items()))
        if name == REFERENCE:
            reference = index, row["points"]
        else:
            index.free()
    if reference:
        reference[0].free()
    db.close()
    return dict(quantizers=rows, skipped=skipped)


def report(doc):
    lines = [f"# Settings for quantizer AUTO, {doc['date']}", "", *head_lines(doc),
             f"- one query at a time on one thread, {'sealed' if doc['sealed'] else 'plain'} cache; ratio = queries a second over "
             f"those of {REFERENCE}, timed in turns; probes x rerank_mult"]
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
