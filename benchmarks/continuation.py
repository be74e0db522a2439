"""Analytic continuation, measured: every number about it in the documentation.

python benchmarks/continuation.py             all of it (about two hours on one core)
python benchmarks/continuation.py targets     accuracy and time of all methods, the paper's spectra
python benchmarks/continuation.py peer        the same of ana-cont, if it is installed
python benchmarks/continuation.py dedicated   networks trained for one kind of data
python benchmarks/continuation.py spectra     broad and foreign spectra
python benchmarks/continuation.py bands       how often the 90 % interval holds the truth
python benchmarks/continuation.py kinds       sharp, smooth, gapped ... spectra, beta 1 to 1000
python benchmarks/continuation.py unresolved  groups of peaks and combs, and what tests could tell
python benchmarks/continuation.py act100      the public test set ACT100
python benchmarks/continuation.py act100_random   random spectra by the rules of its authors
python benchmarks/continuation.py matrices    whole matrices, and element by element
python benchmarks/continuation.py rough       wrong beta, wrong errors, outliers, ...
python benchmarks/continuation.py networks    Fig. 2b: error against the number of parameters
python benchmarks/continuation.py published   training as in Table I
python benchmarks/continuation.py noise       Fig. 4: error and scatter against noise
python benchmarks/continuation.py neural      Fig. 5, over 1000 spectra
python benchmarks/continuation.py times       Table VI
python benchmarks/continuation.py slices      time per spectrum, by the kind of errors
python benchmarks/continuation.py thresholds  of the network that comes with the package
python benchmarks/continuation.py tables      tables of the documentation, from all of these

One thread. Unless said otherwise: beta = 10, frequencies in [-3, 3] (50 points), tau uniform on
[0, beta] (100 points), spectra of eq. 16 with the quasiparticle peak, RSE of eq. 18 with weights
that add up to 1; predicting the mean spectrum scores 0.131.

To install ana-cont: ``pip install cython`` and ``pip install --no-build-isolation ana-cont``; under
numpy 2 it needs ``np.trapz``, which the comparison restores.
"""

from __future__ import annotations

import argparse

import torch
from act100 import act100, act100_random
from continuation_accuracy import bands, dedicated, peer, rough, spectra, targets
from continuation_kinds import kinds
from continuation_matrix import matrices
from continuation_networks import networks, neural, noise, published, thresholds, times
from continuation_slices import slices
from continuation_tables import tables
from continuation_unresolved import unresolved

PARTS = {
    f.__name__: f
    for f in (
        targets,
        peer,
        dedicated,
        spectra,
        bands,
        kinds,
        unresolved,
        act100,
        act100_random,
        matrices,
        rough,
        neural,
        times,
        slices,
        noise,
        published,
        networks,
        thresholds,
        tables,
    )
}

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("part", nargs="*", choices=[*PARTS, []], default=[])
    parser.add_argument(
        "--fewer",
        type=int,
        default=1,
        help="divide the number of spectra of bands, kinds and act100_random by this",
    )
    options = parser.parse_args()
    torch.set_num_threads(1)
    for part in options.part or PARTS:
        run = PARTS[part]
        run(options.fewer) if run in (bands, kinds, act100_random) else run()
