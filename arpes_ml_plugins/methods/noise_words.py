"""What a noise estimate means, in words."""

from __future__ import annotations

import math
from collections.abc import Hashable

import numpy as np

from arpes_ml_plugins.constants import CUT_AT_CENTRE, DIFFERENCE, NEGATIVE

__all__ = ["COARSE", "COUNTED", "NUMBERS", "PROPORTIONAL", "SERVED", "in_words"]

COUNTED = ("counts", "scaled counts")
"""Kinds of noise whose counts can be split at random."""
PROPORTIONAL = (*COUNTED, "correlated", "offset")
"""Kinds of noise that follow the intensity."""
SERVED = (*PROPORTIONAL, "local")
"""Kinds of noise that the pre-trained network takes."""
BUNCHED = 1.3  # gain over step
FEW_HOT = 5e-5  # fraction of the pixels below which hot pixels are not mentioned
MUCH_MORE = 10.0  # times the mean: noise that corresponds to so much more intensity
COARSE = 1.5  # steps over the gain: those of counts are no coarser than their noise
UNSEEN = 0.4  # of a step: less noise does not undo that values were rounded to it
NUMBERS = (
    "gain",
    "gain_error",
    "step",
    "shift",
    "shift_error",
    "pedestal",
    "curvature",
    "uncertain",
    "structured",
    "energy_correlation",
    "momentum_correlation",
    "hot_fraction",
    "missing_fraction",
    "negative_fraction",
    "mean_counts",
    "deviation",
    "energy_jitter",
    "momentum_jitter",
    "energy_alternation",
    "momentum_alternation",
    "energy_baseline",
    "momentum_baseline",
    "clipped_fraction",
    "cut_off",
    "cut_off_noise",
    "energy_repeats",
    "momentum_repeats",
    "sign",
    "image_scale",
    "energy_scale",
    "momentum_scale",
    "scale_measured",
    "transform",
    "mark",
)


def in_words(
    kind: int, *numbers: float, dims: tuple[Hashable, Hashable]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The kind of noise, whether it is certain, and the verdict in words."""
    from arpes_ml_plugins.denoising.noise import KINDS

    noise = {name: float(number) for name, number in zip(NUMBERS, numbers, strict=True)}
    missing = noise["missing_fraction"]
    name = "unknown" if np.isnan(missing) else KINDS[int(kind)]  # NaN if all pixels are
    sentences = [_function_in_words(noise), _kind_in_words(name, noise, dims)]
    unsure = noise["uncertain"] > 0 or noise["structured"] > 0
    status = "uncertain" if unsure and name in PROPORTIONAL else "ok"
    if _cut_counts(noise):
        status = "uncertain"
        sentences.append(
            "A constant was subtracted from the counts, and negative values were set to "
            f"{noise['cut_off']:.3g}: where it is dark, the mean of the data is too high, and so "
            "is the denoised image. Denoise the counts before anything is subtracted."
        )
    elif status != "ok" and not (name == "offset" and _is_constant(noise)):
        sentences.append(_uncertain_in_words(noise))
    if noise["hot_fraction"] > FEW_HOT:
        sentences.append(f"{noise['hot_fraction']:.2%} of the pixels are hot.")
    if math.isfinite(noise["mark"]):
        sentences.append(
            f"The value {noise['mark']:g} is taken for a mark of missing data: such pixels are "
            f"left out, and stay as they are. Set them to NaN."
        )
    if missing > 0:
        sentences.append(f"{missing:.1%} are missing.")
    sentences += _rounded_in_words(name, noise)
    sentences += _scaled_in_words(noise, dims)
    sentences += _irregular_in_words(noise, dims)
    return np.array(name), np.array(status), np.array(" ".join(filter(None, sentences)))


def _function_in_words(noise: dict[str, float]) -> str:
    """A sentence about values that are a function of counts."""
    from arpes_ml_plugins.denoising.transformed import FUNCTIONS

    if not noise["transform"] > 0:
        return ""
    return (
        f"The values are a function of counts ({FUNCTIONS[int(noise['transform'])]}). All that "
        f"follows is about these counts; the result is the mean of such values."
    )


def _cut_counts(noise: dict[str, float]) -> bool:
    """Whether counts were cut off from below: then no noise of the read-out is known."""
    return math.isfinite(noise["cut_off"]) and math.isnan(noise["cut_off_noise"])


DERIVATIVE = (
    "The values are a second derivative, or a picture like it: along one axis they have hardly "
    "anything at long wavelengths. Their noise is not that of counts, and a denoiser takes the "
    "structure for noise. Denoise the measured intensity, and take the derivative of the result."
)


def _uncertain_in_words(noise: dict[str, float]) -> str:
    gain, error = noise["gain"], noise["gain_error"]
    if not noise["uncertain"]:
        return (
            f"The gain is uncertain ({gain:.3g} ± {error:.2g}), because two estimates differ: the "
            f"structure is about as fine as the correlated noise, or dark places have less noise "
            f"for their intensity than bright ones. Repeated exposures show the noise alone; or "
            f"pass gain= if you know it."
        )
    other = "another constant" if noise["shift"] else "a pedestal or read-out noise"
    return (
        f"The gain is uncertain ({gain:.3g} ± {error:.2g}): the noise also agrees with {other}, "
        f"because too few places are bright and dark without fine structure. Subtract a dark "
        f"image, or pass gain= if you know it."
    )


def _kind_in_words(name: str, noise: dict[str, float], dims: tuple[Hashable, Hashable]) -> str:
    gain, error, counts = noise["gain"], noise["gain_error"], noise["mean_counts"]
    negative = noise["negative_fraction"]
    both = (noise["energy_correlation"], noise["momentum_correlation"])
    along = " and ".join(f"{value:.2f} along {dim}" for value, dim in zip(both, dims, strict=True))
    curved = _curved(gain, noise["curvature"])
    beside = f" {_shifted(gain, noise['shift'], negative)}" if noise["shift"] else ""
    if noise["pedestal"] < 0:
        beside = f" {_smoothed_before(noise['shift'])}"
    elif noise["pedestal"]:
        beside = f" {_camera(gain, noise['shift'], noise['pedestal'])}"
    return {
        "counts": f"The values are {_counts(noise['step'])}: {_electrons(counts)}.",
        "scaled counts": curved
        or f"The noise is white with gain {gain:.4g} ± {error:.2g}: {_electrons(counts)}."
        f"{_bunched(gain, noise['step'])}",
        "correlated": f"The noise of neighbouring pixels is correlated ({along}), as behind a "
        f"camera or after interpolation. At long wavelengths it is that of counts with gain "
        f"{gain:.3g} ± {error:.2g}: {_electrons(counts)}.{beside}",
        "offset": _constant(noise)
        if _is_constant(noise)
        else _offset(gain, noise["shift"], counts, negative),
        "local": f"{_subtracted(negative)} How strong the noise is was measured from place to "
        f"place: its standard deviation is {noise['deviation']:.3g} at a typical pixel.",
        "negative": _subtracted(negative),
        "derivative": DERIVATIVE,
        "unknown": "There are too few pixels or counts to estimate the gain, or the brightness "
        "varies too little to tell a pedestal from it; pass gain= if you know it.",
    }[name]


def _counts(step: float) -> str:
    return "raw counts" if step == 1 else f"counts times {step:.4g}"


def _electrons(counts: float) -> str:
    number = f"{counts:.3g}"
    return f"{number} electron{'' if number == '1' else 's'} per pixel"


def _is_constant(noise: dict[str, float]) -> bool:
    """Whether the noise may be the same everywhere: its dependence on the intensity is in doubt."""
    mean = noise["gain"] * noise["mean_counts"] - noise["shift"]
    return noise["uncertain"] > 0 and noise["shift"] > MUCH_MORE * abs(mean)


def _constant(noise: dict[str, float]) -> str:
    return (
        f"The noise hardly depends on the intensity: its standard deviation is "
        f"{math.sqrt(noise['gain'] * noise['shift']):.3g}. The number of electrons cannot be told "
        f"from it; pass gain= if you know it, or subtract a dark image."
    )


def _subtracted(negative: float) -> str:
    if negative <= NEGATIVE:
        return "The noise follows no law of the intensity that was tried, or there is hardly any."
    return (
        f"{negative:.1%} of the pixels are negative, so these are not counts: something was "
        f"subtracted (a background, another measurement), or an interpolation overshot. Denoise "
        f"before such steps if you can."
    )


def _curved(gain: float, curvature: float) -> str:
    """Of noise that follows the intensity by no line."""
    if not curvature:
        return ""
    size, in_the_dark = gain / abs(curvature), f"In the dark its gain is {gain:.3g}."
    if curvature < 0:
        return (
            f"Bright places have less noise than counts would: the variance is {gain:.3g} × "
            f"intensity × exp(−intensity / {size:.3g}), as at a detector that saturates, so that "
            f"bright bands look too flat, or of values that were transformed, for example to "
            f"logarithms. {in_the_dark}"
        )
    return (
        f"The noise grows faster than that of counts, by {math.sqrt(curvature):.0%} of the "
        f"intensity, as where the source fluctuates from pixel to pixel (at free-electron lasers), "
        f"or pixels differ in sensitivity. {in_the_dark}"
    )


def _bunched(gain: float, step: float) -> str:
    if not gain > BUNCHED * step:
        return ""
    return (
        f" The values are multiples of {step:.4g}, but their noise is stronger than that of such "
        f"counts: an electron gives more than one count, or the source fluctuates (as at "
        f"free-electron lasers)."
    )


def _rounded_in_words(name: str, noise: dict[str, float]) -> list[str]:
    """A sentence about values that were rounded to steps coarser than the noise of the dark."""
    step, gain = noise["step"], noise["gain"]
    if name not in ("scaled counts", "offset") or not step > COARSE * gain:
        return []
    return [
        f"The values are multiples of {step:.3g}, which is coarse where the intensity is below "
        f"{(UNSEEN * step) ** 2 / gain - noise['shift']:.3g}: rounding there hides what error bars "
        f"allow for, up to half a step."
    ]


def _scaled_in_words(noise: dict[str, float], dims: tuple[Hashable, Hashable]) -> list[str]:
    """A sentence about data that were divided by numbers which differ."""
    for name, whole in zip(("image", "energy", "momentum"), ("image", *dims), strict=True):
        ratio = noise[f"{name}_scale"]
        if not ratio > 1:
            continue
        if noise["scale_measured"]:
            return [
                f"The noise differs from one {whole} to another, as if each had been divided by a "
                f"number of its own (its maximum, its sum, an exposure), the largest {ratio:.3g} "
                f"times the smallest. This is taken into account; the noise is given for all of "
                f"them multiplied by these numbers."
            ]
        return [
            f"Each {whole} was divided by a number of its own, as its maximum, its sum or an "
            f"exposure; the largest is {ratio:.3g} times the smallest. This is taken into account; "
            f"the noise is given for all of them multiplied by these numbers."
        ]
    return []


def _irregular_in_words(noise: dict[str, float], dims: tuple[Hashable, Hashable]) -> list[str]:
    """Sentences about uneven lines of pixels and about saturation."""
    found = []
    if noise["sign"] < 0:
        found.append(
            "The values are negative, as in a current; all that is said here is about their "
            "magnitudes."
        )
    for name, dim in zip(("energy", "momentum"), dims, strict=True):
        jitter, alternation = noise[f"{name}_jitter"], noise[f"{name}_alternation"]
        if alternation > 0:
            found.append(
                f"Every second {dim} is brighter by {alternation:.0%}, as if bins contained one "
                f"and two channels in turn: sum them in pairs."
            )
        elif jitter > 0:
            found.append(
                f"The intensity jumps by {jitter:.0%} from one {dim} to the next in the whole "
                f"image, as if the beam fluctuated: divide by its current, if it was recorded."
            )
        if noise[f"{name}_repeats"] > 1:
            found.append(
                f"Each {dim} is repeated {noise[f'{name}_repeats']:.3g} times on average, as after "
                f"interpolation to the nearest neighbour. Only one of them was measured, and all "
                f"that is said here is about these."
            )
        if noise[f"{name}_baseline"] > 0:
            found.append(
                f"Constants were added that differ from one {dim} to the next (standard deviation "
                f"{noise[f'{name}_baseline']:.3g}), as by a read-out whose zero wanders, or where "
                f"a background was subtracted from each by itself. They are kept."
            )
    if noise["clipped_fraction"] > 0:
        found.append(
            f"{noise['clipped_fraction']:.2%} of the pixels have the same highest value: the "
            f"detector or the file format saturates there, and the true intensity is higher."
        )
    if noise["cut_off_noise"] > 0:
        excess = CUT_AT_CENTRE * noise["cut_off_noise"]
        found.append(
            f"Values below {noise['cut_off']:.3g} were set to it. Where it is dark, the mean of "
            f"the data is therefore too high, by {excess:.2g} where the "
            f"true mean is at this level; the denoised image is corrected for this."
        )
    return found


def _offset(gain: float, shift: float, counts: float, negative: float) -> str:
    if shift == 0:
        return (
            f"The variance is {gain:.3g} times the intensity, less than that of whole electrons, "
            f"as with a pedestal or after smoothing: {_electrons(counts)} if there is neither."
        )
    electrons = _electrons(counts)
    if shift > 0 and negative > DIFFERENCE:
        electrons += ", unless the values are a difference, which does not show how many there were"
    return f"{_shifted(gain, shift, negative)} This means {electrons}."


def _camera(gain: float, shift: float, pedestal: float) -> str:
    """What correlated noise means beside white noise and above a pedestal."""
    deviation = math.sqrt(max(gain * (shift + pedestal), 0.0))
    noise = f", and so is white read-out noise (standard deviation {deviation:.3g})"
    return (
        f"A constant of about {pedestal:.4g}, a pedestal, is part of the values"
        f"{noise if deviation else ''}; data - {pedestal:.4g} removes the constant."
    )


def _smoothed_before(shift: float) -> str:
    """What correlated noise means that is no stronger where more was subtracted."""
    return (
        f"About {shift:.3g} seems to have been subtracted after smoothing or interpolation: "
        "denoise before that."
    )


def _shifted(gain: float, shift: float, negative: float) -> str:
    """What noise means whose variance is proportional to the intensity plus ``shift``."""
    size = abs(shift)
    if shift < 0:
        return (
            f"The variance is {gain:.3g} × (intensity − {size:.3g}): a constant of about "
            f"{size:.3g}, a pedestal, is part of the values; data - {size:.3g} removes it."
        )
    cause = f"after about {size:.3g} was subtracted"
    if negative > DIFFERENCE:
        cause += ", or in the difference of two measurements"
    if negative == 0:
        cause += ", or at a detector that saturates, so that bright bands look too flat"
    return (
        f"The variance is {gain:.3g} × (intensity + {size:.3g}), as with read-out noise (standard "
        f"deviation {math.sqrt(gain * size):.3g}) or {cause}."
    )
