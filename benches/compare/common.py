"""What the comparisons share: time, the head of a report, files of results, durable upserts."""
import datetime
import json
import os
import platform
import re
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent
KEY, BATCH = bytes(range(32)), 10_000


def timed(f):
    """Seconds, and CPU seconds of this process, of f()."""
    cpu, wall = time.process_time(), time.perf_counter()
    f()
    return time.perf_counter() - wall, time.process_time() - cpu


def say(what):
    print(f"[{time.strftime('%H:%M:%S')}] {what}", file=sys.stderr, flush=True)


def machine():
    cpu = re.search(r"model name\s*:\s*(.*)", Path("/proc/cpuinfo").read_text())
    memory = int(re.search(r"MemTotal:\s*(\d+)", Path("/proc/meminfo").read_text())[1]) // 2**20
    return f"{cpu[1] if cpu else platform.machine()}, {os.cpu_count()} cores, {memory} GiB, Linux {platform.release()}"


def load():
    return " ".join(f"{x:.1f}" for x in os.getloadavg())


def heading(api):
    """Date, machine, versions and command of this run."""
    import faiss
    git = subprocess.run(["git", "describe", "--always"], cwd=HERE, capture_output=True, text=True)
    # A run of several datasets has changed the results of the first ones itself.
    changed = subprocess.run(["git", "diff", "--quiet", "HEAD", "--", ":/", ":(top,exclude)benches/results"], cwd=HERE)
    commit = (git.stdout.strip() or "unknown") + ("-dirty" if changed.returncode else "")
    return dict(date=datetime.date.today().isoformat(), machine=machine(), load=load(), commit=commit,
                build=api.build_info(), faiss=faiss.__version__, numpy=np.__version__, python=platform.python_version(),
                command=" ".join([f"benches/compare/{Path(sys.argv[0]).name}", *sys.argv[1:]]))


def head_lines(doc):
    """The head of a report in Markdown."""
    return [f"- machine: {doc['machine']}; load {doc['load']}",
            f"- commit {doc['commit']}; {doc['build']}; faiss {doc['faiss']}, numpy {doc['numpy']}, Python {doc['python']}",
            f"- command: `{doc['command']}`"]


def write(folder, doc, text, name):
    """FOLDER/DATE-NAME.json and .md; nothing without a folder."""
    if folder:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{doc['date']}-{name}.json").write_text(json.dumps(doc, indent=1) + "\n")
        (folder / f"{doc['date']}-{name}.md").write_text(text)


def number(x):
    return f"{x:,.0f}" if x >= 1000 else f"{x:.3g}" if x < 0.1 else f"{x:.3f}".rstrip("0").rstrip(".")


def upsert_all(index, base, first=0):
    """Vectors a second of durable upserts in batches of BATCH."""
    ids = np.arange(first, first + len(base), dtype=np.uint64)

    def work():
        for i in range(0, len(base), BATCH):
            index.upsert(ids[i:i + BATCH], base[i:i + BATCH])
    seconds, cpu = timed(work)
    return dict(vectors=len(base), seconds=seconds, per_s=len(base) / seconds, cpu_s=cpu)


QUANTIZERS = ["flat", "flat16", "sq8", "sq4", "sq2", "pq8", "pq4", "pq4r", *(f"rabitq{bits}" for bits in range(1, 9))]


def quantizer_options(api, name):
    """Index options of a quantizer by its name here: flat16 keeps vectors in f16, pq4r rotates them first."""
    kind, bits, rotated = re.fullmatch(r"([a-z]+?)(\d*)(r?)", name).groups()
    if kind == "flat":
        precision = dict(vector_precision=api.CYBORG_VECTOR_PRECISION_F16) if bits == "16" else {}
        return dict(quantizer=api.CYBORG_QUANTIZER_FLAT, **precision)
    rotation = dict(pq_rotation=1) if rotated else {}
    return {"quantizer": getattr(api, f"CYBORG_QUANTIZER_{kind.upper()}"), f"{kind}_bits": int(bits), **rotation}


def plain_lists(n):
    """Lists for n vectors: 4 sqrt(n), in sixteens; the same for every engine."""
    return max(16, round(4 * n ** 0.5 / 16) * 16)


def pq_parts(dim, bits):
    """Parts of product codes as ours has them, two dimensions a part of 4 bits, four of 8; faiss needs a divisor."""
    wanted = -(-dim // (2 if bits == 4 else 4))
    return next(m for m in range(wanted, dim + 1) if dim % m == 0)


def settled(index, wait=10.0):
    """Stored bytes once the objects that training replaced are gone."""
    end, least = time.time() + wait, index.stats().stored_bytes
    while time.time() < end:
        time.sleep(0.5)
        now = index.stats().stored_bytes
        if now == least:
            break
        least = now
    return least
