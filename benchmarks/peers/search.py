"""Exact search by faiss. Runs under the peers' Python: arrays from a file, a search for each line that comes in.

Answers with the seconds that it took; at the end it writes the neighbours into a second file.
"""

import sys
import time

import faiss
import numpy as np

arrays = np.load(sys.argv[1], allow_pickle=False)
faiss.omp_set_num_threads(1)
index = faiss.IndexFlatIP(arrays["gallery"].shape[1])
index.add(arrays["gallery"])
neighbours = np.empty(0)
for _ in sys.stdin:
    began = time.perf_counter()
    _, neighbours = index.search(arrays["queries"], 50)
    print(time.perf_counter() - began, flush=True)
np.save(sys.argv[2], neighbours)
