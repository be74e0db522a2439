"""How a lazy map is worked on by one and by two processes of dask.distributed.

Writes docs/measured/parallel.csv: wall time of each, the time that all tasks took together and that
of the longest one, the memory of a worker before the map and at most, the size of the graph (with
the map itself, 4719 kB, which lies in memory), and the largest difference from the result in
memory. ``speed`` is how many maps are done in the time that one worker needs for one; the row
"2 alone" is what the machine allows: two processes that know nothing of each other, each with a
whole map. On a machine whose two processors are one core, that is less than two.
"""

from __future__ import annotations

import multiprocessing
import os
import pickle
import resource
import time

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from distributed import Client, LocalCluster, get_task_stream
from tables import write

from arpes_ml_plugins import simulate_scene

SHAPE, CHUNK = (64, 96, 96), 8
PIXEL_BYTES = 4


def main() -> None:
    scene = simulate_scene(SHAPE[1:], slices=SHAPE[0], counts=5, rng=1).spectrum
    expected = scene.S.denoise(adapt=False, rng=0)
    lazy = scene.chunk(scan=CHUNK).S.denoise(adapt=False, rng=0)
    graph = len(pickle.dumps(dict(lazy.__dask_graph__())))
    rows = [measured(lazy, expected, workers, graph) for workers in (1, 2)]
    one = rows[0]["seconds"]
    write(
        "parallel.csv",
        [row | {"speed": round(one / row["seconds"], 2)} for row in rows] + [alone(scene)],
    )


def measured(lazy, expected, workers, graph):
    options = {"n_workers": workers, "threads_per_worker": 1, "dashboard_address": ":0"}
    with LocalCluster(**options) as cluster, Client(cluster) as client:
        client.run(loaded)  # importing torch is no part of it
        ready = max(client.run(peak_memory).values())
        start = time.perf_counter()
        with get_task_stream() as stream:
            computed = lazy.compute()
        wall = time.perf_counter() - start
        peak = max(client.run(peak_memory).values())
    took = {
        str(task["key"]): sum(s["stop"] - s["start"] for s in task["startstops"])
        for task in stream.data
    }
    difference = float(np.abs(computed - expected).max() / expected.max())
    return {
        "workers": str(workers),
        "seconds": round(wall, 1),
        "all_tasks_s": round(sum(took.values()), 1),
        "longest_task_s": round(max(took.values()), 1),
        "tasks": len(took),
        "graph_kB": round(graph / 1000),
        "ready_MiB": round(ready),
        "peak_MiB": round(peak),
        "chunk_MiB": round(CHUNK * np.prod(SHAPE[1:]) * PIXEL_BYTES / 2**20, 2),
        "difference": difference,
    }


def alone(scene):
    """Two processes side by side, each with a map, compared with one of them."""
    seconds = [of_processes(scene, number) for number in (1, 2)]
    return {
        "workers": "2 alone",
        "seconds": round(seconds[1], 1),
        "speed": round(2 * seconds[0] / seconds[1], 2),
    }


def of_processes(scene, number):
    context = multiprocessing.get_context("spawn")
    with context.Pool(number) as pool:
        pool.map(ready, range(number), chunksize=1)
        start = time.perf_counter()
        pool.map(denoised, [scene] * number, chunksize=1)
        return time.perf_counter() - start


def denoised(scene):
    scene.S.denoise(adapt=False, rng=0)


def ready(_):
    loaded()
    time.sleep(1)  # so that each process takes one


def peak_memory():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def loaded():
    from arpes_ml_plugins.methods.stored_network import pretrained

    pretrained(0)


if __name__ == "__main__":
    main()
