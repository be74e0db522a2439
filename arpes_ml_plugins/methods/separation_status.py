"""Status of a separation: everything that is wrong or unusual, in words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from arpes_ml_plugins.errors import DistributionWarning
from arpes_ml_plugins.frames import warn
from arpes_ml_plugins.labelled.axes import listed
from arpes_ml_plugins.methods.separation_input import Setup

if TYPE_CHECKING:
    import torch
    import xarray as xr

    from arpes_ml_plugins.separation.separated import Separated
    from arpes_ml_plugins.separation.whiten import Whitened

__all__ = [
    "UNLIKE",
    "channels_left_out",
    "dead_left_out",
    "hot_left_out",
    "largest_chi2",
    "left_out",
    "of_chi2",
    "of_gaps",
    "of_pixels",
    "of_regions",
    "of_shared_noise",
    "of_structure",
    "of_sums",
    "status_of",
    "warn_of_status",
]

UNLIKE = 0.1  # sine of the angle between a family and the data
CHANCE = 2.0  # times the distance that noise explains
TOO_MUCH = 1.3  # of chi^2 per degree of freedom: something is left in the residual
OWN, CERTAIN, USUAL, BEYOND = 5.0, 12.0, 0.99, 2.5
"""Of chi^2 of a pixel: least that is told; standard deviations of chance; times this quantile."""
TOO_MUCH_OF_VALUES = 1.15  # the same with the noise of each value, which is known better


def status_of(
    found: Separated,
    chi2: float,
    residual: torch.Tensor,
    setup: Setup,
    missing: list[str],
    limit: float,
) -> str:
    """Everything that is wrong or unusual, in words; otherwise "ok"."""
    causes = [
        *["thresholds of the algorithm that shrink the maps"] * (found.sources is not None),
        *["pixels that are mixtures of the clusters"] * (found.labels is not None),
        "missing components",
        *["wrong families"] * (setup.known > 0),
    ]
    notes = of_chi2(chi2, limit, residual, "the components", causes)
    notes += [*found.notes, *_of_families(found, [str(name) for name in setup.components])]
    return "; ".join([*notes, *missing]) or "ok"


def largest_chi2(*, by_value: bool) -> float:
    """Per degree of freedom, of residuals that are noise; ``by_value``: known for each value."""
    return TOO_MUCH_OF_VALUES if by_value else TOO_MUCH


def of_chi2(
    chi2: float, limit: float, residual: torch.Tensor, what: str, causes: list[str]
) -> list[str]:
    """Note on residuals ``(m, t)`` that are too large, and what may be the cause."""
    from arpes_ml_plugins.separation.residual_structure import has_no_structure

    if not chi2 > limit:
        return []
    above = f"chi^2 per degree of freedom is {chi2:.2g}, above {limit:g}"
    if has_no_structure(residual):
        return [
            f"{above}, but what is left has no structure along the channels: nothing shows that a "
            f"component is missing; there is more noise than estimated or given, "
            f"{chi2**0.5:.2g} times as much on average (data divided by different dwell times, "
            f"lines that were copied?), and stated errors are too small; `noise=` takes a "
            f"DataArray with the noise of each value"
        ]
    listed = ", ".join([*causes, "or more noise than estimated"])
    return [
        f"{above}: {what} do not explain the data within their noise (possible causes: {listed})"
    ]


def of_pixels(chi2: torch.Tensor, freedom: int) -> list[str]:
    """Note on pixels whose chi^2 per degree of freedom, ``(t,)``, is far beyond chance and beyond
    that of nearly all others: they hold something of their own, which a mean hides.
    """
    known = chi2[chi2.isfinite()]
    if not len(known) or freedom < 1:
        return []
    usual = float(known.kthvalue(max(1, round(USUAL * len(known)))).values)
    limit = max(OWN, 1 + CERTAIN * (2 / freedom) ** 0.5, BEYOND * usual)
    number = int((known > limit).sum())
    if not number:
        return []
    what = "1 pixel differs" if number == 1 else f"{number} pixels differ"
    return [
        f"{what} from all the components (chi^2 per degree of freedom up to "
        f"{float(known.max()):.2g}): hot values, or something that is nowhere else, which spectra "
        f"may have taken up; residual_chi2 shows where, mask= leaves pixels out"
    ]


def of_regions(chi2: torch.Tensor, freedom: int) -> list[str]:
    """Note on a region whose chi^2 per degree of freedom, ``(*space)``, is far beyond that of
    others, while single pixels show little: a material that no component is.
    """
    from arpes_ml_plugins.separation.misfit_regions import misfit_region

    found = misfit_region(chi2, freedom)
    if found is None:
        return []
    return [
        f"a region of the map differs from all the components (mean chi^2 per degree of freedom "
        f"{found[0]:.2g}, elsewhere {found[1]:.2g}): something that is nowhere else, which spectra "
        f"may have taken up; residual_chi2 shows where, mask= leaves pixels out"
    ]


def of_structure(residual: torch.Tensor, model: torch.Tensor) -> list[str]:
    """Note on residuals ``(k, t)`` over their noise that have a structure in common."""
    from arpes_ml_plugins.separation.left_structure import left_structure

    share = left_structure(residual, model)
    if share is None:
        return []
    return [
        f"what is left of many pixels has a structure in common, which chi^2 does not show: its "
        f"strength over the noise is {share:.1%} of that of the data (root mean squares); there "
        f"is a further component, or spectra change from pixel to pixel (in width or energy, in "
        f"their background, or by a response that is not in proportion); see choose_components"
    ]


def of_sums(
    residual: torch.Tensor, model: torch.Tensor, spectra: torch.Tensor, setup: Setup
) -> list[str]:
    """Note on spectra ``(m, n)`` that sums of all pixels ``(m, t)`` contradict, if they do."""
    from arpes_ml_plugins.separation.summed_residual import summed_misfit

    found = summed_misfit(residual, model, spectra)
    if found is None:
        return []
    dim, where = setup.channels[0], ""
    if len(setup.channels) == 1 and dim in setup.data.coords:
        axis = setup.data[dim]
        value = axis.values[found.channel]
        shown = f"{value:.4g}" if axis.dtype.kind in "iuf" else str(value)
        where = f", most at {dim} = {shown}"
    return [
        f"residuals summed over all pixels are not noise: {found.share:.1%} of the intensity, "
        f"{found.chi2:.2g} times the squares of their noise{where}: the spectra differ from those "
        f"in the data (lines that are shifted, too narrow or too broad, or a missing background)"
    ]


def left_out(
    constant: torch.Tensor, zero: torch.Tensor, empty: torch.Tensor, ready: Whitened
) -> list[str]:
    """Notes on channels that took no part.

    Of counts, zeros are as good as other numbers; dead channels count as missing.
    """
    kinds = {
        "constant channel{}": constant & ~zero,
        "channel{} of nothing but zeros": zero & (ready.by_value is None),
        "channel{} without values (missing, dead, or equally hot in all pixels)": empty,
    }
    notes = []
    for kind, channels in kinds.items():
        number = int(channels.sum())
        what, verb = (kind.format("s"), "were") if number > 1 else (kind.format(""), "was")
        if number:
            notes.append(f"{number} {what} {verb} left out")
    return notes


def of_gaps(unknown: torch.Tensor, names: list[str]) -> list[str]:
    """Note on values of spectra ``(m, n)`` that no pixel with the component was measured at."""
    number = unknown.sum(0).tolist()
    where = [f"{name!r} at {k} channels" for name, k in zip(names, number, strict=True) if k]
    return (
        [
            f"the spectra are not known where no pixel that shows them was measured: "
            f"{', '.join(where)}; what is shown there was filled in"
        ]
        if where
        else []
    )


def of_shared_noise(correlation: float) -> list[str]:
    """Note on pixels whose noise is correlated with that of their neighbours."""
    if not correlation:
        return []
    return [
        f"neighbouring pixels share their noise (correlation {correlation:.2f}), as after "
        f"smoothing or interpolation: they tell as much as fewer pixels would, and the stated "
        f"errors are larger for it; separate the data as they were measured if you have them"
    ]


def _of_families(found: Separated, names: list[str]) -> list[str]:
    """Components whose family and data disagree, and which of the two their spectra come from."""
    if found.match is None:
        return []
    from arpes_ml_plugins.separation.matching import SLIGHT, TOLERATED

    present = found.match.present.tolist()
    shown_off = [False] * len(present) if found.off is None else (found.off > SLIGHT).tolist()
    absent = [n for n, p, off in zip(names, present, shown_off, strict=False) if not (p or off)]
    off = [name for name, o in zip(names, shown_off, strict=False) if o]
    by_noise = (CHANCE * found.match.expected).tolist()
    far = {
        name: f"{name!r} (distance {distance:.2f})"
        for name, distance, noise in zip(
            names, found.match.distance.tolist(), by_noise, strict=False
        )
        if distance > max(UNLIKE, noise) and name not in absent
    }
    slight = [
        f"{name!r} (distance {distance:.2g}, of which noise explains {noise:.2g})"
        for name, distance, noise in zip(
            names, found.match.distance.tolist(), found.match.expected.tolist(), strict=False
        )
        if distance > max(SLIGHT, TOLERATED * noise) and name not in (*far, *absent)
    ]
    notes = []
    if absent:
        notes.append(
            f"{listed(absent)} was not detected: the spectrum shown comes from the library"
            if len(absent) == 1
            else f"{listed(absent)} were not detected: the spectra shown come from the library"
        )
    if far:
        notes.append(
            f"the data contain no spectrum close to the family of {', of '.join(far.values())}; "
            f"the threshold is {UNLIKE:g}"
        )
    if slight:
        notes.append(
            f"the family of {', of '.join(slight)} does not hold the spectrum in the data: lines "
            f"may be broader or asymmetric, a satellite may be missing, or the detector may "
            f"saturate"
        )
    if len(off) == 1:
        notes.append(
            f"the spectrum shown for {off[0]!r} lies outside its family: it comes from the data "
            f"alone"
        )
    elif off:
        notes.append(
            f"the spectra shown for {listed(off)} lie outside their families: they come from the "
            f"data alone"
        )
    return notes


def warn_of_status(result: xr.Dataset, method: str) -> None:
    """Warn unless the status is "ok"; that of lazy results is not known yet."""
    status = result["status"]
    if status.chunks is None and status.item() != "ok":
        warn(f"{method}: {status.item()}", DistributionWarning)


def hot_left_out(hot: int) -> str:
    """Status of data whose ``hot`` values count as missing."""
    return f"{hot} hot value{' was' if hot == 1 else 's were'} left out"


def channels_left_out(number: int) -> str:
    """Status of data of which this ``number`` of channels counts as missing."""
    what = "1 channel is" if number == 1 else f"{number} channels are"
    return f"{what} dead, constant, or equally hot in all pixels, and left out"


def dead_left_out(dead: int) -> str:
    """Status of data whose ``dead`` pixels count as missing."""
    what = "1 pixel holds" if dead == 1 else f"{dead} pixels hold"
    return (
        f"{what} nothing but zeros beside bright pixels: taken as not measured (dead, or a crack "
        f"of the sample)"
    )
