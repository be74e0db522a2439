"""What ``import arpes_ml_plugins`` costs over ``import xarray``: median of fresh processes."""

from __future__ import annotations

import statistics
import subprocess
import sys

RUNS = 15
CODE = """
import time, xarray
start = time.perf_counter()
import arpes_ml_plugins
print(time.perf_counter() - start)
"""


def main() -> None:
    seconds = [float(subprocess.check_output([sys.executable, "-c", CODE])) for _ in range(RUNS)]
    print(f"import arpes_ml_plugins: {statistics.median(seconds) * 1000:.0f} ms over xarray")


if __name__ == "__main__":
    main()
