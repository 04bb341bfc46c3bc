#!/usr/bin/env python3
"""Opens one index in a process of its own and prints, as JSON, how long that took, how much memory the process has grown by
once every query was answered, and how quickly it then answers them (default options, plain cache).

    resident.py LIBRARY URL FOLDER THREADS CACHE_BYTES      FOLDER has queries.npy and gt.npy; 0 bytes: no limit
"""
import json
import sys
import time
from pathlib import Path

import numpy as np

import capi
from common import KEY
from settings import K, batches, singles


def resident():
    """Bytes of this process in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


def main():
    library, url, folder, threads, cache_bytes = sys.argv[1:]
    api, queries, gt = capi.Api(library), np.load(f"{folder}/queries.npy"), np.load(f"{folder}/gt.npy")
    warm = capi.Db(api, "memory:", threads=int(threads))    # code pages and thread stacks are not the index's
    warm.close()
    found = np.full((len(queries), K), -1, np.int64)        # nor are the results
    before, start = resident(), time.perf_counter()
    db = capi.Db(api, url, threads=int(threads), cache_bytes=int(cache_bytes))
    index = db.open("index", KEY)
    opened = time.perf_counter() - start
    index.query(queries[:1], K)
    first, after_open = time.perf_counter() - start, resident()
    for i in range(0, len(queries), 1000):
        found[i:i + 1000] = index.query(queries[i:i + 1000], K)
    grown, stats = resident() - before, index.stats()
    qps, _ = singles(index.caller(queries, K), len(queries), 1.0)
    batch_qps = batches(lambda q: index.query(q, K), queries, 1000, 1.0)
    recall = float((found[:, :, None] == gt[:, None, :K]).any(1).mean())
    print(json.dumps(dict(open_s=opened, first_answer_s=first, opened_bytes=after_open - before, grown_bytes=grown,
                          resident_bytes=stats.resident_bytes, cache_bytes=stats.cache_bytes, cache_hits=stats.cache_hits,
                          cache_misses=stats.cache_misses, recall=recall, qps=qps, batch_qps=batch_qps)))
    index.free()
    db.close()


if __name__ == "__main__":
    main()
