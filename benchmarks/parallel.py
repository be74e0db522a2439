"""How a lazy map is worked on by one and by two processes of dask.distributed.

Writes docs/measured/parallel.csv: wall time of each, the time that all tasks took together and that
of the longest one, the size of the graph (with the map itself, 4719 kB, which lies in memory),
and the largest difference from the result in memory. On a machine whose two processors are one
core, or which others use, wall times say less than those of the tasks.
"""

from __future__ import annotations

import os
import pickle
import time

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from distributed import Client, LocalCluster, get_task_stream
from tables import write

from arpes_ml_plugins import simulate_scene

SHAPE, CHUNK = (64, 96, 96), 8


def main() -> None:
    scene = simulate_scene(SHAPE[1:], slices=SHAPE[0], counts=5, rng=1).spectrum
    expected = scene.S.denoise(adapt=False, rng=0)
    lazy = scene.chunk(scan=CHUNK).S.denoise(adapt=False, rng=0)
    graph = len(pickle.dumps(dict(lazy.__dask_graph__())))
    write("parallel.csv", [measured(lazy, expected, workers, graph) for workers in (1, 2)])


def measured(lazy, expected, workers, graph):
    options = {"n_workers": workers, "threads_per_worker": 1, "dashboard_address": ":0"}
    with LocalCluster(**options) as cluster, Client(cluster) as client:
        client.run(loaded)  # importing torch is no part of it
        start = time.perf_counter()
        with get_task_stream() as stream:
            computed = lazy.compute()
        wall = time.perf_counter() - start
    took = {
        str(task["key"]): sum(s["stop"] - s["start"] for s in task["startstops"])
        for task in stream.data
    }
    difference = float(np.abs(computed - expected).max() / expected.max())
    return {
        "workers": workers,
        "seconds": round(wall, 1),
        "all_tasks_s": round(sum(took.values()), 1),
        "longest_task_s": round(max(took.values()), 1),
        "tasks": len(took),
        "graph_kB": round(graph / 1000),
        "difference": difference,
    }


def loaded():
    from arpes_ml_plugins.methods.stored_network import pretrained

    pretrained(0)


if __name__ == "__main__":
    main()
