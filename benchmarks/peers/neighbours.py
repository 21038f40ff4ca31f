"""Retrieval against faiss's exact index: the same neighbours, searched for in turn."""

import subprocess
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from benchmarks.peers import PYTHON
from benchmarks.rounds import Comparison, comparison
from cmac_core.evaluation.retrieval import rank

SEARCH = Path(__file__).with_name("search.py")


def retrieval(rounds: int) -> Comparison:
    """3,783 queries in a gallery of 9,537 (UCF101's first split), 512 features, 50 neighbours."""
    generator = torch.Generator().manual_seed(0)
    gallery, queries = (
        torch.nn.functional.normalize(torch.randn(n, 512, generator=generator), dim=1) for n in (9537, 3783)
    )
    times: list[tuple[float, float]] = []
    with tempfile.TemporaryDirectory() as folder:
        arrays, found = Path(folder) / "arrays.npz", Path(folder) / "neighbours.npy"
        np.savez(arrays, gallery=gallery.numpy(), queries=queries.numpy())
        with subprocess.Popen(
            [PYTHON, SEARCH, arrays, found], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as child:
            assert child.stdin is not None
            assert child.stdout is not None
            for _ in range(rounds + 1):
                began = time.perf_counter()
                ours = rank(queries, gallery, 50).neighbors_QK
                own = time.perf_counter() - began
                child.stdin.write("\n")
                child.stdin.flush()
                times.append((own, float(child.stdout.readline())))
            child.stdin.close()
        same = np.mean(np.load(found, allow_pickle=False) == ours.numpy())
    assert same > 0.999, f"only {same:.4f} of the neighbours agree"
    return comparison("retrieval, faiss", times[1:], work=len(queries), unit="queries/s")
