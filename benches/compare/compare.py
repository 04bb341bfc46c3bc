#!/usr/bin/env python3
"""cyborg beside faiss on the public dataset, through the C ABI, in one run.

    compare.py --lib target/release/libcyborg.so --data DIR [--out benches/results] [--quick]

Every figure is a ratio to faiss or to a limit of this machine measured in the same run, or an absolute figure with its
goal. Timed alternatives are interleaved and the median of the rounds is taken, so that a machine that is busy for a while hurts
both. `busy` is CPU time over wall time: well under 1 means that something else had the core. Writes NAME.json and NAME.md,
NAME being the date and the machine.
"""
import argparse
import json
import os
import platform
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import faiss
import numpy as np

import capi
from common import BATCH, KEY, head_lines, heading, load, number, say, timed, upsert_all, write
from dataset import Dataset

HERE = Path(__file__).resolve().parent
K, TARGET, LISTS = 10, 0.95, 2304


# --- the two engines behind one face: search(queries, probes) -> ids, scanned(queries, probes), one(probes) -> f(i) ----

class Faiss:
    """IVFFlat over given centroids. On unit vectors L2 and inner product find the same neighbours by other lists (faiss
    clusters on the sphere for the latter): both are measured, and the better one is what we are compared with."""

    def __init__(self, data, centroids, metric):
        self.metric = metric
        ip = metric == "ip"
        self.coarse = faiss.IndexFlatIP(data.dim) if ip else faiss.IndexFlatL2(data.dim)
        self.coarse.add(centroids)
        kind = faiss.METRIC_INNER_PRODUCT if ip else faiss.METRIC_L2
        self.index = faiss.IndexIVFFlat(self.coarse, data.dim, len(centroids), kind)
        self.index.train(centroids)      # the coarse quantizer is full already: nothing is clustered again
        self.index.add(data.base)
        self.sizes = np.array([self.index.invlists.list_size(i) for i in range(len(centroids))])

    def search(self, queries, probes):
        self.index.nprobe = probes
        return self.index.search(queries, K)[1]

    def scanned(self, queries, probes):
        return float(self.sizes[self.coarse.search(queries, probes)[1]].sum(1).mean())

    def one(self, queries, probes):
        self.index.nprobe = probes
        return lambda i: self.index.search(queries[i:i + 1], K)


class Ours:
    def __init__(self, index):
        self.index = index

    def search(self, queries, probes):
        return self.index.query(queries, K, n_probes=probes)

    def scanned(self, queries, probes):
        return float(self.index.scanned(queries, K, n_probes=probes)[0])

    def one(self, queries, probes):
        return self.index.caller(queries, K, n_probes=probes)


def reach(engine, data, queries, lists):
    """The fewest probes that reach TARGET, their recall, and the vectors scanned at exactly TARGET (interpolated)."""
    seen = {}

    def recall(p):
        if p not in seen:
            seen[p] = data.recall(engine.search(queries, p), K)
        return seen[p]

    low, high = 0, 8
    while recall(high) < TARGET:
        low, high = high, min(2 * high, lists)
        if low == lists:
            raise SystemExit(f"recall stays at {recall(lists):.4f} with every list probed")
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if recall(middle) >= TARGET else (middle, high)
    scanned = engine.scanned(queries, high)
    if low > 0:
        share = (TARGET - recall(low)) / (recall(high) - recall(low))
        before = engine.scanned(queries, low)
        scanned = before + share * (scanned - before)
    return dict(probes=high, recall=recall(high), scanned_at_target=scanned)


def rates(callers, n, rounds, seconds):
    """Queries a second of each caller, one query at a time on one thread, interleaved; and how busy the core was."""
    qps = {name: [] for name in callers}
    busy = {name: [] for name in callers}
    for r in range(rounds):
        for name, one in callers.items():
            i, done = r * 997, 0
            cpu, start = time.process_time(), time.perf_counter()
            while (now := time.perf_counter()) - start < seconds:
                for _ in range(16):
                    one(i % n)
                    i += 1
                done += 16
            qps[name].append(done / (now - start))
            busy[name].append((time.process_time() - cpu) / (now - start))
    return {name: dict(qps=median(qps[name]), busy=median(busy[name]), rounds=qps[name]) for name in callers}


# --- what is measured ------------------------------------------------------------------------------------------------

def disk_limit(folder, nbytes, batches):
    """Bytes a second of plain appends, each followed by fdatasync: what a durable upsert cannot beat."""
    piece = os.urandom(nbytes // batches)
    path = folder / "limit"
    with open(path, "wb", buffering=0) as f:
        def work():
            for _ in range(batches):
                f.write(piece)
                os.fdatasync(f.fileno())
        seconds, _ = timed(work)
    path.unlink()
    return nbytes / seconds


def measure(a, api, data, folder):
    base, queries = data.base, data.queries[:a.queries]
    r = {}

    say("durable upserts, untrained")
    options = dict(dimension=data.dim, metric=api.CYBORG_METRIC_COSINE, id_kind=api.CYBORG_ID_KIND_U64,
                   auto_train_disabled=1)
    db = capi.Db(api, f"file:{folder}/glove.cyborg", threads=a.threads)
    sq = db.create("sq", KEY, **options)
    r["upsert_untrained"] = upsert_all(sq, base)
    r["disk_bytes_per_s"] = disk_limit(folder, base.nbytes, len(base) // BATCH)

    say("training against faiss k-means, interleaved")
    ours, theirs, clustering, kmeans = [], [], [], {}
    for turn in range(max(2, a.trainings)):
        spherical = turn % 2 == 1
        k = faiss.Kmeans(data.dim, LISTS, niter=10, seed=1234, spherical=spherical)
        theirs.append(timed(lambda: k.train(base)))
        ours.append(timed(lambda: clustering.append(sq.train(n_lists=LISTS)["clustering"])))
        kmeans[spherical] = k.centroids
    r["training"] = dict(ours_s=median(s for s, _ in ours), faiss_s=median(s for s, _ in theirs),
                         ours_clustering_s=median(clustering), ours_cpu_s=median(c for _, c in ours), faiss_cpu_s=median(c for _, c in theirs))
    r["balance"] = sq.stats().balance_permille / 1000

    say("durable upserts, trained")
    half = len(base) // 2
    trained = db.create("trained", KEY, **options)
    upsert_all(trained, base[:half])
    trained.train(n_lists=LISTS)
    r["upsert_trained"] = upsert_all(trained, base[half:], half)
    trained.free()

    say("recall and scanned vectors")
    flat = db.create("flat", KEY, quantizer=api.CYBORG_QUANTIZER_FLAT, **options)
    upsert_all(flat, base)
    flat.train(n_lists=LISTS)
    engines = dict(sq=Ours(sq), flat=Ours(flat), faiss_l2=Faiss(data, kmeans[False], "l2"),
                   faiss_ip=Faiss(data, kmeans[True], "ip"))
    r["points"] = {name: reach(e, data, queries, LISTS) for name, e in engines.items()}
    for name, index in (("sq", sq), ("flat", flat)):
        r[f"automatic_{name}"] = dict(probes=index.describe().auto_probes,
                                      recall=data.recall(index.query(queries, K), K))

    say("queries a second on one thread at equal recall, interleaved")
    faiss.omp_set_num_threads(1)
    r["single"] = rates({n: e.one(queries, r["points"][n]["probes"]) for n, e in engines.items()}, len(queries),
                        a.rounds, a.seconds)
    faiss.omp_set_num_threads(a.threads)
    r["batch"] = {}
    for name, e in engines.items():
        walls = [timed(lambda: e.search(queries, r["points"][name]["probes"]))[0] for _ in range(a.rounds)]
        r["batch"][name] = dict(qps=len(queries) / median(walls))

    say("size, reopening, memory")
    for name, index in (("sq", sq), ("flat", flat)):
        r[f"stored_{name}"] = index.stats().stored_bytes
        index.free()
    db.close()
    np.save(folder / "queries.npy", queries)
    for name, codes in (("sq", data.dim), ("flat", 0)):
        child = subprocess.run([sys.executable, HERE / "resident.py", a.lib, f"file:{folder}/glove.cyborg", name,
                                folder / "queries.npy", str(a.threads)], check=True, stdout=subprocess.PIPE, text=True)
        row = json.loads(child.stdout)
        row["content_bytes"] = data.n * (4 * data.dim + codes + 8)
        r[f"reopened_{name}"] = row
    r["file_bytes"] = sum(p.stat().st_size for p in folder.glob("glove.cyborg*"))
    return r


def goals(r):
    """(what, goal, measured, met) of each row of the issue."""
    best = min(("faiss_l2", "faiss_ip"), key=lambda n: r["points"][n]["scanned_at_target"])
    quick = max(("faiss_l2", "faiss_ip"), key=lambda n: r["single"][n]["qps"])
    clustering = r["training"]["faiss_s"] / r["training"]["ours_clustering_s"]
    speed = r["training"]["faiss_s"] / r["training"]["ours_s"]
    flat_qps = r["single"]["flat"]["qps"] / r["single"][quick]["qps"]
    rows = [
        ("durable upsert, untrained, vectors/s", ">= 50,000", r["upsert_untrained"]["per_s"], lambda x: x >= 50_000),
        ("durable upsert, trained, vectors/s", ">= 30,000", r["upsert_trained"]["per_s"], lambda x: x >= 30_000),
        ("k-means against faiss k-means of 10 iterations, times faster", ">= 5", clustering, lambda x: x >= 5),
        ("the whole training job (reads, clusters, encodes, measures recall, makes durable) against the same", ">= 5",
         speed, lambda x: x >= 5),
    ]
    for name in ("sq", "flat"):
        x = r["points"][name]["scanned_at_target"] / r["points"][best]["scanned_at_target"]
        rows.append((f"scanned vectors at recall@10 0.95, {name} / {best}", "<= 1.05", x, lambda x: x <= 1.05))
    for name in ("sq", "flat"):
        rows.append((f"recall@10 with automatic probes, {name}", ">= 0.95", r[f"automatic_{name}"]["recall"],
                     lambda x: x >= 0.95))
    rows.append((f"one query at a time, flat / {quick}", ">= 0.8", flat_qps, lambda x: x >= 0.8))
    for name in ("sq", "flat"):
        row = r[f"reopened_{name}"]
        rows.append((f"resident memory / (vectors + codes + ids), {name}", "<= 1.3",
                     row["grown_bytes"] / row["content_bytes"], lambda x: x <= 1.3))
        rows.append((f"reopening, s, {name}", "< 1", row["open_s"], lambda x: x < 1))
    return [(what, goal, x, met(x)) for what, goal, x, met in rows]


def report(doc):
    r = doc["results"]
    lines = [f"# cyborg beside faiss, {doc['date']}", "", *head_lines(doc),
             f"- data: {doc['data']['n']:,} x {doc['data']['dim']}, cosine ({doc['data']['recipe']}); {LISTS} lists",
             "", "| what | goal | measured | |", "|---|---|---|---|"]
    lines += [f"| {what} | {goal} | {number(x)} | {'met' if met else '**missed**'} |" for what, goal, x, met in goals(r)]
    lines += ["", "| engine | probes | recall@10 | scanned at 0.95 | QPS, 1 thread | busy | QPS, batch |", "|" + "---|" * 7]
    for name, p in r["points"].items():
        one = r["single"][name]
        lines.append(f"| {name} | {p['probes']} | {p['recall']:.4f} | {p['scanned_at_target']:,.0f} | {one['qps']:,.0f} | "
                     f"{one['busy']:.2f} | {r['batch'][name]['qps']:,.0f} |")
    t, disk = r["training"], r["disk_bytes_per_s"]
    raw = doc["data"]["dim"] * 4
    lines += ["", f"Training: {t['ours_s']:.2f} s ({t['ours_cpu_s']:.2f} CPU s) all phases, {t['ours_clustering_s']:.2f} s of it k-means; faiss {t['faiss_s']:.2f} s "
              f"({t['faiss_cpu_s']:.2f}). List balance {r['balance']:.2f} (1 = all alike).",
              f"Raw vectors upserted a second over plain append + fdatasync: untrained "
              f"{r['upsert_untrained']['per_s'] * raw / disk:.2f}, trained {r['upsert_trained']['per_s'] * raw / disk:.2f} "
              f"(the disk took {disk / 1e6:,.0f} MB/s).",
              f"Live bytes in the store: sq {r['stored_sq']:,}, flat {r['stored_flat']:,}; file with three indexes "
              f"{r['file_bytes']:,}."]
    return "\n".join(lines) + "\n"


def main():
    ap = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    ap.add_argument("--lib", required=True, type=Path)
    ap.add_argument("--data", required=True, type=Path)
    ap.add_argument("--out", type=Path)
    ap.add_argument("--dir", help="where the store is made: a folder on the disk to measure", default=None)
    ap.add_argument("--threads", type=int, default=2)
    ap.add_argument("--queries", type=int, default=10_000)
    ap.add_argument("--rounds", type=int, default=5)
    ap.add_argument("--seconds", type=float, default=1.0)
    ap.add_argument("--trainings", type=int, default=4)
    ap.add_argument("--quick", action="store_true", help="1,000 queries, two trainings, short rounds")
    a = ap.parse_args()
    if a.quick:
        a.queries, a.rounds, a.seconds, a.trainings = 1000, 3, 0.3, 2
    a.lib = a.lib.resolve()
    faiss.omp_set_num_threads(a.threads)
    api, data = capi.Api(a.lib), Dataset(a.data)
    doc = dict(heading(api), data=data.info)
    with tempfile.TemporaryDirectory(dir=a.dir) as folder:
        doc["results"] = measure(a, api, data, Path(folder))
    doc["load"] = load()
    text = report(doc)
    print(text)
    write(a.out, doc, text, re.sub(r"[^a-z0-9]+", "-", platform.node().lower()).strip("-") or "machine")


if __name__ == "__main__":
    main()
