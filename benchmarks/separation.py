"""Source separation, measured: every number about it in the documentation.

python benchmarks/separation.py --data FOLDER            all of it (about two hours)
python benchmarks/separation.py --data FOLDER splits     Table 1, on three splits
python benchmarks/separation.py --data FOLDER variants   Tables 3 and 4
python benchmarks/separation.py --data FOLDER layers     Figs. 2b and 10
python benchmarks/separation.py --data FOLDER penalties  Fig. 2a: PALM against its penalty
python benchmarks/separation.py --data FOLDER known      Fig. 8: S-updates for known A
python benchmarks/separation.py --data FOLDER images     Table 2: the four maps, permuted and raw
python benchmarks/separation.py --data FOLDER shifts     other data than it was trained on
python benchmarks/separation.py --data FOLDER speed      training samples and separations a second

and of separation on manifolds (Carloni Gertosio et al. 2023)

python benchmarks/separation.py --data FOLDER manifold_projection  Table 2, time of projections
python benchmarks/separation.py --data FOLDER manifold_noise       Fig. 9a: SNR 10 to 60 dB
python benchmarks/separation.py --data FOLDER manifold_balance     Fig. 9c: weak sources
python benchmarks/separation.py --data FOLDER manifold_distance    Fig. 9b: lines close together
python benchmarks/separation.py --data FOLDER manifold_removed     Table 3: without some models
python benchmarks/separation.py --data FOLDER manifold_neighbours  what makes the accuracy
python benchmarks/separation.py --data FOLDER choice               the number of components

FOLDER holds cassiopeia_xray.npz, see separation_data.py. One thread.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from separation_data import load
from separation_images import images
from separation_learned import known, layers, penalties, published, shifts, speed, splits, variants
from separation_manifolds import (
    choice,
    manifold_balance,
    manifold_distance,
    manifold_neighbours,
    manifold_noise,
    manifold_projection,
    manifold_removed,
)

ALL = (
    splits,
    published,
    variants,
    layers,
    penalties,
    known,
    images,
    shifts,
    speed,
    manifold_projection,
    manifold_noise,
    manifold_balance,
    manifold_distance,
    manifold_removed,
    manifold_neighbours,
    choice,
)
PARTS = {function.__name__: function for function in ALL}

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of cassiopeia_xray.npz")
    parser.add_argument("part", nargs="*", choices=[*PARTS, []], default=[])
    options = parser.parse_args()
    load(options.data)
    torch.set_num_threads(1)
    for part in options.part or PARTS:
        PARTS[part]()
