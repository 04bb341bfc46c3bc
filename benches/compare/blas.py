"""To be imported before numpy and faiss: tells the OpenBLAS inside their wheels which kernels to take.

The OpenBLAS of faiss-cpu 1.15.1 does not know every newer CPU and then falls back to SSE ("Prescott"): on a Xeon of model 207
its k-means ran 3.8 times slower than with the AVX-512 kernels, and every ratio to it was too good by that much. What is
set outside stays.
"""
import os
from pathlib import Path


def core():
    try:
        flags = Path("/proc/cpuinfo").read_text()
    except OSError:
        return None
    return "SkylakeX" if " avx512bw" in flags else "Haswell" if " avx2" in flags else None


if (found := core()) is not None:
    os.environ.setdefault("OPENBLAS_CORETYPE", found)
CORE = os.environ.get("OPENBLAS_CORETYPE", "chosen by OpenBLAS")
