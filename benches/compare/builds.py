"""The parts "build" and "memory" of the comparison.

build   from nothing to an index that answers: ours takes all vectors in, durable in a file, and trains by its defaults;
        faiss trains and adds in memory. In turns.
memory  a process of its own (resident.py) opens our file and answers every query: what it grew by, with all that queries
        touched in the cache, and with a cache that holds the codes alone.
"""
import json
import subprocess
import sys
from statistics import median

import faiss
import numpy as np

import capi
from common import HERE, plain_lists, say, settled, timed, upsert_all
from engines import METRICS, create


def prepared(a, api, data, path):
    """Our index in a file, by the library's defaults: db, index, what upserting took, what training took."""
    db = capi.Db(api, f"file:{path}", threads=a.threads)
    index = create(db, data.dim)
    upserted = upsert_all(index, data.base)
    return db, index, upserted, index.train()


def measure(a, api, data, folder):
    turns = []
    faiss.omp_set_num_threads(a.threads)
    for turn in range(a.builds):
        say(f"whole build, turn {turn + 1} of {a.builds}")
        path = folder / f"build-{turn}.cyborg"
        db, index, upserted, phases = prepared(a, api, data, path)
        row = dict(upsert=upserted, phases=phases, ours_s=upserted["seconds"] + phases["job"], stored_bytes=settled(index))
        index.free()
        db.close()
        row["file_bytes"] = sum(p.stat().st_size for p in folder.glob(path.name + "*"))
        for p in folder.glob(path.name + "*"):
            p.unlink()
        peer = faiss.index_factory(data.dim, f"IVF{plain_lists(data.n)},Flat", METRICS["ip"])
        row["faiss_train_s"], _ = timed(lambda: peer.train(data.base))
        row["faiss_add_s"], _ = timed(lambda: peer.add(data.base))
        row["ratio"] = (row["faiss_train_s"] + row["faiss_add_s"]) / row["ours_s"]
        turns.append(row)
    middle = {f: median(t[f] for t in turns) for f in turns[0] if f not in ("upsert", "phases")}
    return dict(turns=turns, upserts_per_s=median(t["upsert"]["per_s"] for t in turns), raw_bytes=data.base.nbytes, **middle)


def tables(r):
    raw = r["raw_bytes"]
    job_s = median(t["phases"]["job"] for t in r["turns"])
    return [f"Ours, durable: {r['ours_s']:.2f} s ({r['upserts_per_s']:,.0f} upserts a second, then {job_s:.2f} s of training); "
            f"faiss IVFFlat, in memory: train {r['faiss_train_s']:.2f} s, add {r['faiss_add_s']:.2f} s; faiss / ours "
            f"{r['ratio']:.2f}. Turns: {len(r['turns'])}.",
            f"Stored: {r['stored_bytes']:,} bytes, {r['stored_bytes'] / raw:.2f} of the raw vectors; the file has "
            f"{r['file_bytes']:,}."]


def measure_memory(a, api, data, folder):
    say("memory")
    path = folder / "memory.cyborg"
    db, index, _, _ = prepared(a, api, data, path)
    code_bytes = index.describe().code_bytes
    settled(index)
    index.free()
    db.close()
    np.save(folder / "queries.npy", data.queries[:a.queries])
    np.save(folder / "gt.npy", data.gt[:a.queries])
    raw = data.base.nbytes

    def child(cache_bytes):
        ran = subprocess.run([sys.executable, HERE / "resident.py", a.lib, f"file:{path}", folder, str(a.threads),
                              str(cache_bytes)], check=True, stdout=subprocess.PIPE, text=True)
        row = json.loads(ran.stdout)
        return dict(row, limit=cache_bytes, grown_of_raw=row["grown_bytes"] / raw)
    cached = child(0)
    # What the cache held besides vectors, or less where queries did not touch every vector: the codes.
    codes = max(cached["cache_bytes"] - raw, data.n * code_bytes)
    return dict(raw_bytes=raw, code_bytes=code_bytes, cached=cached, codes_only=child(codes))


def memory_tables(r):
    lines = ["| cache | limit MB | grown / raw vectors | cache MB | resident MB | opened in s | recall@10 | QPS, 1 thread | "
             "batch QPS | hits | misses |", "|" + "---|" * 11]
    for name in ("cached", "codes_only"):
        x = r[name]
        lines.append(f"| {name.replace('_', ' ')} | {x['limit'] / 1e6:,.0f} | {x['grown_of_raw']:.3f} | "
                     f"{x['cache_bytes'] / 1e6:,.0f} | {x['resident_bytes'] / 1e6:,.0f} | {x['open_s']:.3f} | "
                     f"{x['recall']:.4f} | {x['qps']:,.0f} | {x['batch_qps']:,.0f} | {x['cache_hits']:,} | "
                     f"{x['cache_misses']:,} |")
    return lines + ["", f"Raw vectors: {r['raw_bytes'] / 1e6:,.0f} MB; a code has {r['code_bytes']} bytes. Queries by default "
                    "options, after every query was answered once."]
