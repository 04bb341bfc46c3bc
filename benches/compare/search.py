"""The part "search" of the comparison: queries a second of every engine at equal recall.

1  every engine is built, with all threads, before anything is timed;
2  for every recall the quickest setting of each engine is searched on the first half of the queries (at most --tune);
   the recall of the others, which no setting was chosen by, stands beside;
3  those settings are timed in rounds, engine after engine within a recall, forwards and backwards in turn, so that what
   disturbs the machine for a while hurts all: one query at a time on one thread, and batches on all threads (ours also on
   one). Figures are medians over the rounds; a ratio is the median of the rounds' ratios.
"""
import time
from statistics import median

import numpy as np

from common import plain_lists, say
from engines import Shared, roster
from settings import K, batches, first_batch, first_single, quickest, singles


def measure(a, api, data):
    shared = Shared(api, data, plain_lists(data.n), a.threads)
    queries = np.ascontiguousarray(data.queries[:a.queries])
    tune = min(len(queries) // 2, a.tune)
    engines, rows = [], {}
    for engine in roster(data.dim, a.quick):
        if any(word in engine.name for word in a.leave_out):
            continue
        try:
            row = dict(family=engine.family, build=engine.build(data, shared))
            row["points"] = tuned(a, engine, data, queries, tune)
            row["bytes"] = engine.bytes()
        except Exception as failed:        # a peer that fails is a row, not the end of the run
            rows[engine.name] = dict(family=engine.family, error=f"{type(failed).__name__}: {str(failed)[:200]}")
            say(f"{engine.name}: {rows[engine.name]['error']}")
            continue
        rows[engine.name] = row
        engines.append(engine)
        found = (f"{t} by {words(p['single']['setting'])}" if p else f"{t} never" for t, p in row["points"].items())
        say(f"{engine.name}: built in {row['build']['train_s']:.1f} + {row['build']['add_s']:.1f} s; {', '.join(found)}")
    for r in range(a.rounds):
        say(f"round {r + 1} of {a.rounds}")
        for target in map(named, a.targets):
            for engine in engines[::-1] if r % 2 else engines:
                if point := rows[engine.name]["points"][target]:
                    point["rounds"].append(timings(a, engine, queries, point, r))
    for engine in engines:
        for point in rows[engine.name]["points"].values():
            if point:
                point.update({name: median(x[name] for x in point["rounds"]) for name in point["rounds"][0]})
        engine.close()
    return dict(targets=[named(t) for t in a.targets], lists=shared.lists, kmeans_s=shared.seconds, tuned_on=tune,
                queries=len(queries), batch=a.batch, rounds=a.rounds, seconds=a.seconds, threads=a.threads, engines=rows)


def tuned(a, engine, data, queries, tune):
    """target -> the settings that reach it, for one query at a time and for batches; None where none does."""
    readings = dict(single=first_single(engine, queries), batch=first_batch(engine, queries, a.batch, a.threads))
    found = quickest(engine, data, queries[:tune], a.targets, readings, a.threads)
    points = {}
    for target, best in found.items():
        for point in best.values():
            point.pop("rate")       # it chose; what counts is timed in turns
            if point is not best["single"] and point["setting"] == best["single"]["setting"]:
                point.update(best["single"])
                continue
            point["held_out"] = data.recall(engine.search(queries[tune:], point["setting"], a.threads), K, tune)
            if engine.family == "ours":
                point["work"] = engine.work(queries[:tune], point["setting"])
        points[named(target)] = dict(best, rounds=[]) if best else None
    return points


def timings(a, engine, queries, point, r):
    """One round of one engine at one recall."""
    call = engine.caller(queries, point["single"]["setting"])
    cpu, wall = time.process_time(), time.perf_counter()
    qps, took = singles(call, len(queries), a.seconds, 997 * r)
    busy = (time.process_time() - cpu) / (time.perf_counter() - wall)
    p50, p99 = np.percentile(took, [50, 99])
    row = dict(qps=qps, p50_ms=1e3 * p50, p99_ms=1e3 * p99, tail=p99 / p50, busy=busy)
    for name, threads in [("batch_qps", a.threads)] + [("batch_one_qps", 1)] * (engine.family == "ours"):
        row[name] = batches(lambda q: engine.search(q, point["batch"]["setting"], threads), queries, a.batch, a.seconds, 3 * r)
    return row


def named(target):
    return f"{target:.2f}"


def words(setting):
    return " ".join(f"{name}={value}" for name, value in setting.items())


def tables(r):
    """In Markdown: every engine, then every engine at every recall."""
    kmeans = ", ".join(f"{s:.1f} s ({metric})" for metric, s in r["kmeans_s"].items())
    lines = [f"{r['lists']:,} lists; settings searched on {r['tuned_on']:,} queries, recall held out: of the others; batches of "
             f"{r['batch']:,} on {r['threads']} threads (ours also on 1); medians of {r['rounds']} rounds of {r['seconds']} s. "
             f"faiss's k-means, which counts as training of each of its kinds, took {kmeans}.", "",
             "| engine | train s | add s | code bytes | MB in memory |", "|---|---|---|---|---|"]
    for name, x in r["engines"].items():
        if "error" in x:
            lines.append(f"| {name} | {x['error'].replace('|', '/')} | | | |")
            continue
        kind = f" ({x['build']['quantizer']})" if "quantizer" in x["build"] else ""
        lines.append(f"| {name}{kind} | {x['build']['train_s']:.2f} | {x['build']['add_s']:.2f} | "
                     f"{x['build'].get('code_bytes', '')} | {x['bytes'] / 1e6:,.0f} |")
    ran = {name: x["points"] for name, x in r["engines"].items() if "points" in x}
    for target in next(iter(ran.values()), {}):
        lines += ["", f"recall@10 {target}:", "", "| engine | setting | recall | held out | QPS, 1 thread | p50 ms | p99 ms | "
                  "busy | batch setting | recall | held out | batch QPS | on 1 thread |", "|" + "---|" * 13]
        for name, points in ran.items():
            if not (p := points[target]):
                lines.append(f"| {name} | never |" + " |" * 11)
                continue
            s, b = p["single"], p["batch"]
            one = f"{p['batch_one_qps']:,.0f}" if "batch_one_qps" in p else ""
            lines.append(f"| {name} | {words(s['setting'])} | {s['recall']:.4f} | {s['held_out']:.4f} | {p['qps']:,.0f} | "
                         f"{p['p50_ms']:.3f} | {p['p99_ms']:.3f} | {p['busy']:.2f} | "
                         f"{'same' if b['setting'] == s['setting'] else words(b['setting'])} | {b['recall']:.4f} | "
                         f"{b['held_out']:.4f} | {p['batch_qps']:,.0f} | {one} |")
        work = {name: points[target]["single"]["work"] for name, points in ran.items()
                if points[target] and "work" in points[target]["single"]}
        lines += ["", "Of one query: " + "; ".join(
            f"{name}: {w['probed']:,.0f} lists, {w['scanned']:,.0f} codes scanned, {w['reranked']:,.0f} reranked, "
            f"{w['opened'] / 1024:,.0f} KiB decrypted" for name, w in work.items()) + "."]
    return lines
