#!/usr/bin/env python3
"""Opens one index in a process of its own and prints, as JSON, how long that took and how much memory it holds after
every query was answered (plain cache, no limit).

    resident.py LIBRARY URL INDEX QUERIES.npy THREADS
"""
import json
import sys
import time
from pathlib import Path

import numpy as np

import capi

KEY = bytes(range(32))


def resident():
    """Bytes of this process in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


def main():
    library, url, name, path, threads = sys.argv[1:]
    api, queries = capi.Api(library), np.load(path)
    warm = capi.Db(api, "memory:", threads=int(threads))    # code pages and thread stacks are not the index's
    warm.close()
    before, start = resident(), time.perf_counter()
    db = capi.Db(api, url, threads=int(threads))
    index = db.open(name, KEY)
    opened = time.perf_counter() - start
    index.query(queries[:1], 10)
    first, after_open = time.perf_counter() - start, resident()
    index.query(queries, 10)
    stats = index.stats()
    print(json.dumps(dict(open_s=opened, first_answer_s=first, opened_bytes=after_open - before,
                          grown_bytes=resident() - before, resident_bytes=stats.resident_bytes,
                          cache_bytes=stats.cache_bytes, cache_hits=stats.cache_hits, cache_misses=stats.cache_misses)))
    index.free()
    db.close()


if __name__ == "__main__":
    main()
