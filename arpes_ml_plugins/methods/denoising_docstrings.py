"""Blocks of docstrings that the denoising methods share."""

from __future__ import annotations

__all__ = ["BLOCKS"]

BLOCKS = {
    "image": """
        data : xarray.DataArray or xarray.Dataset
            Intensities with an energy and a momentum (or angle) axis, at least 16 x 16 pixels.
            Other dimensions (time, temperature, photon energy, a second angle) are a batch. In a
            Dataset the spectrum is replaced. NaN pixels are ignored and stay NaN.""",
    "counts": """
        data : xarray.DataArray or xarray.Dataset
            Counts, or counts times a gain, with an energy and a momentum (or angle) axis, at least
            16 x 16 pixels. Other dimensions are a batch. Hot pixels and dead lines are left out
            and filled in; NaN stay NaN.""",
    "gain": """
        gain : float, optional
            Variance over mean, in the unit of the data: 1 for single electrons. By default it is
            estimated (:func:`estimate_noise`), and an error is raised if the data are not counts.
            A given gain is used as it is, with a warning if the noise of the data differs from it.
            A larger gain means fewer electrons, and thus a smoother image.""",
    "repeats": """
        repeats : str or None
            Dimension along which the same scene was measured repeatedly. The noise is estimated
            from the differences of these exposures, which contain no structure; their sum is
            denoised, and the network is tested on how well one half of them predicts the other. A
            warning is issued if they differ by more than noise. The result is their mean, without
            that dimension. ``"auto"`` takes a dimension named sweep, repeat, repetition or
            exposure; with ``None`` it is a batch like any other.""",
    "mesh": """
        mesh : {"auto", None}
            ``"auto"``: search for the mesh in front of the detector, the same for all images, and
            divide it out if it is significant (:func:`remove_mesh`); this is recorded in the
            provenance. ``None``: leave the mesh in.""",
    "series": """
        series : str or None
            Dimension along which neighbouring images resemble each other (time, temperature, the
            second angle). One network then denoises all of them, and its input includes the
            neighbours of each image; for the pre-trained network only if held-out counts show that
            this helps. ``"auto"`` takes the longest scanned axis of at least four images whose
            coordinate is monotonic (of two with the same length, time or temperature rather than an
            angle). Name another dimension if neighbours along it are more alike. With ``None``
            every image has its own network.""",
    "calibrate": """
        calibrate : bool
            Whether to test the error bars: one half of the data is denoised, its distance from the
            other half is compared with its error bars, and all error bars are stretched if they are
            too small. The factor is recorded in the provenance. The method takes about twice as
            long.""",
    "precision": """
        precision : {"auto", "float32", "bfloat16"}
            Precision of the convolutions. ``"auto"`` takes bfloat16 if the hardware has it.""",
    "batch_size": """
        batch_size : int, optional
            Number of images fitted together; default 1 on a CPU, 16 on a GPU, halved when memory
            runs out. More need more memory.""",
    "rng": """
        rng : int, numpy.random.Generator or torch.Generator, optional
            Seed of all random numbers; the same seed gives the same result. The seed used is
            recorded in the provenance.""",
    "unused_rng": """
        rng : int, numpy.random.Generator or torch.Generator, optional
            Not used, because the method is deterministic; it is accepted by all methods.""",
    "dims": """
        dims : mapping or sequence of str, optional
            Energy and momentum axis, if their names are not recognised: ``("eV", "phi")`` or
            ``{"momentum": "phi"}``.""",
    "out": """
        out : path-like, optional
            Folder of zarr to write the result to, chunk by chunk while it is computed; needs the
            packages zarr and dask. If the call is interrupted, the finished chunks stay in a folder
            beside it, whose name ends with ``.unfinished``, and the same call with the same data
            goes on from there. Of a Dataset only the spectrum is written. For a DataTree it is a
            folder that holds those of its nodes.""",
    "clean": """
        xarray.DataArray or xarray.Dataset
            Denoised values with the type, axes, metadata and unit of ``data``. Integers become
            float32.""",
    "error_bars": """
        xarray.Dataset
            ``clean``, and ``lower`` and ``upper``, between which the truth lies in 68 % of the
            pixels. These errors are those of repeated simulated measurements of the clean image,
            enlarged if the data contain structure that the clean image lacks.""",
    "unusable": """
        AxisError, DataError, DataTypeError, ParameterError, DeviceError
            The input cannot be used; the message says what to do.""",
    "no_counts": """
        DataError
            The noise is not that of counts (interpolated, with an offset, background subtracted),
            or there are too few pixels or counts to decide. The message names the reason and a
            remedy.
        AxisError, DataTypeError, ParameterError, DeviceError
            The input cannot be used; the message says what to do.""",
    "contradicted": """
        CountsWarning
            ``gain`` differs from that of the noise; or a Gaussian filter predicts held-out counts
            better than the network, and the filtered image is returned; or the difference between
            data and clean image is not the noise that was assumed.""",
}
"""Blocks of docstrings of the denoising methods, for ``parameters.documented``."""
BLOCKS["several_series"] = (
    BLOCKS["series"].replace("series : str or None", "series : str, sequence of str, or None")
    + """ Several dimensions are taken in turn, and
            the result is the mean: for a Fermi map ``("ky", "phi")`` is more accurate than either,
            and takes twice as long."""
)
