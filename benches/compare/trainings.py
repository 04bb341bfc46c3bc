"""The part "train" of the comparison: time, list balance, and what a search has to scan afterwards.

Ours and the peers cluster the same vectors into as many lists, in turns, each turn with other seeds. What a clustering is
worth is the number of vectors in the lists that must be looked into for recall@10 0.95 when every query looks into as many:
no stopping rule, exact scores, a share of a list where two neighbouring numbers of probes enclose the recall.
"""
import time
from contextlib import suppress
from statistics import median

import faiss
import numpy as np

import capi
from common import plain_lists, say, timed, upsert_all
from dataset import unit
from engines import METRICS, create
from settings import K, fewest

TARGET = 0.95


def measure(a, api, data, folder):
    lists, queries = plain_lists(data.n), data.queries[:a.queries]
    turns = []
    for turn in range(a.trainings):
        say(f"training, turn {turn + 1} of {a.trainings}")
        row = {"ours": ours(a, api, data, folder / f"turn-{turn}.cyborg", lists, queries, turn)}
        for name, train in peers(a, data, lists, turn).items():
            try:
                made = []
                wall, cpu = timed(lambda: made.append(train()))
                row[name] = dict(seconds=wall, cpu_s=cpu, **worth(data, queries, np.asarray(made[0]).reshape(lists, data.dim)))
            except Exception as failed:        # a peer that fails is a row, not the end of the run
                row[name] = dict(error=f"{type(failed).__name__}: {str(failed)[:200]}")
                say(f"{name}: {row[name]['error']}")
        turns.append(row)
    return dict(lists=lists, queries=len(queries), target=TARGET, turns=turns, **compared(turns))


def peers(a, data, lists, turn):
    """Name -> a function that trains and gives the centroids."""
    def of_faiss(spherical):
        k = faiss.Kmeans(data.dim, lists, niter=10, seed=1234 + turn, max_points_per_centroid=256, spherical=spherical)
        k.train(data.base)
        return k.centroids

    def superkmeans():
        from superkmeans import SuperKMeans
        k = SuperKMeans(lists, data.dim, hierarchical=True, iters_refinement=2, n_threads=a.threads, seed=42 + turn)
        return k.train(data.base)
    faiss.omp_set_num_threads(a.threads)
    with suppress(ImportError):     # its row will say so
        import superkmeans as _     # before the clock runs
    return {"faiss": lambda: of_faiss(False), "faiss spherical": lambda: of_faiss(True), "superkmeans": superkmeans}


def ours(a, api, data, path, lists, queries, turn):
    """A training of flat lists in a durable store: its phases, the whole job, and what is then scanned."""
    db = capi.Db(api, f"file:{path}", threads=a.threads)
    index = create(db, data.dim, "flat")
    upsert_all(index, data.base)
    cpu = time.process_time()
    phases = index.train(n_lists=lists, seed=1 + turn)
    cpu = time.process_time() - cpu
    seen = {}

    def recall(p):
        if p not in seen:
            seen[p] = data.recall(index.query(queries, K, n_probes=p), K)
        return seen[p]

    def scanned(p):
        return index.work(queries, K, n_probes=p)["scanned"]

    probes = fewest(recall, TARGET, 1, lists, share=0)
    at = scanned(probes)
    if probes > 1:
        low = recall(probes - 1)
        before = scanned(probes - 1)
        at = before + (TARGET - low) / (recall(probes) - low) * (at - before)
    balance = index.stats().balance_permille / 1000
    index.free()
    db.close()
    for part in path.parent.glob(path.name + "*"):
        part.unlink()
    return dict(seconds=phases["clustering"], job_s=phases["job"], job_cpu_s=cpu, phases=phases, probes=probes, scanned=at,
                balance=balance)


def worth(data, queries, centroids):
    """Of a peer's centroids, whose lists are ranked by distance or by direction, whichever scans less."""
    ways = {metric: scanned(data, queries, unit(centroids) if metric == "ip" else centroids, METRICS[metric])
            for metric in METRICS}
    metric = min(ways, key=lambda m: ways[m]["scanned"])
    return dict(ways[metric], ranked_by=metric)


def scanned(data, queries, centroids, metric):
    """Vectors scanned at TARGET, without scanning: a neighbour is found once the list that holds it is looked into."""
    coarse = faiss.IndexFlat(data.dim, metric)
    coarse.add(np.ascontiguousarray(centroids))
    at = coarse.search(data.base, 1)[1][:, 0]
    sizes = np.bincount(at, minlength=len(centroids)).astype(float)
    found, seen = np.zeros(len(centroids)), np.zeros(len(centroids))
    for i in range(0, len(queries), 500):
        order = coarse.search(queries[i:i + 500], len(centroids))[1]
        rank = np.empty_like(order)
        np.put_along_axis(rank, order, np.arange(len(centroids))[None], 1)
        ranks = np.take_along_axis(rank, at[data.gt[i:i + len(order), :K]], 1)
        found += np.bincount(ranks.ravel(), minlength=len(centroids))
        seen += np.cumsum(sizes[order], 1).sum(0)
    recall, seen = np.cumsum(found) / (K * len(queries)), seen / len(queries)
    p = int(np.searchsorted(recall, TARGET))
    value = seen[p]
    if p:
        value = seen[p - 1] + (TARGET - recall[p - 1]) / (recall[p] - recall[p - 1]) * (seen[p] - seen[p - 1])
    return dict(probes=p + 1, scanned=float(value), balance=float(len(sizes) * (sizes ** 2).sum() / data.n ** 2))


def compared(turns):
    """Medians of the turns, and of the ratios within a turn. faiss is the better of its two clusterings in each."""
    names = [name for name in turns[0] if all("error" not in t[name] for t in turns)]
    fields = ["seconds", "job_s", "scanned", "balance"]
    middle = {name: {f: median(t[name][f] for t in turns) for f in fields if f in turns[0][name]} for name in names}
    ratios = {}
    for peer in ("faiss", "superkmeans"):
        if kinds := [name for name in names if name.startswith(peer)]:
            least = {f: [min(t[name][f] for name in kinds) for t in turns] for f in ("seconds", "scanned")}
            ratios[peer] = dict(time=median(s / t["ours"]["seconds"] for s, t in zip(least["seconds"], turns)),
                                time_of_job=median(s / t["ours"]["job_s"] for s, t in zip(least["seconds"], turns)),
                                scanned=median(t["ours"]["scanned"] / s for s, t in zip(least["scanned"], turns)))
    return dict(medians=middle, ratios=ratios)


def tables(r):
    lines = [f"{r['lists']:,} flat lists; turns: {len(r['turns'])}. Vectors scanned: at recall@10 {r['target']} of "
             f"{r['queries']:,} queries, with as many probes for each. Ours: the phase \"clustering\" of a job, and the whole "
             "job, which also reads, encodes, measures its recall curve and makes all durable.", "",
             "| clustering | s | whole job s | vectors scanned | balance |", "|---|---|---|---|---|"]
    for name in r["turns"][0]:
        if name not in r["medians"]:
            lines.append(f"| {name} | {next(t[name]['error'] for t in r['turns'] if 'error' in t[name])} | | | |")
            continue
        x = r["medians"][name]
        job = f"{x['job_s']:.2f}" if "job_s" in x else ""
        lines.append(f"| {name} | {x['seconds']:.2f} | {job} | {x['scanned']:,.0f} | {x['balance']:.3f} |")
    phases = {name: median(t["ours"]["phases"][name] for t in r["turns"]) for name in capi.PHASES}
    return lines + ["", "Phases of our job: " + ", ".join(f"{name} {s:.2f} s" for name, s in phases.items()) + "."]
