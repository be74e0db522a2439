"""Find energies that shift from pixel to pixel, and correct them before a separation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeGuard

import numpy as np

from arpes_ml_plugins.errors import AxisError, ParameterError
from arpes_ml_plugins.labelled.border import Cube
from arpes_ml_plugins.methods.gaps_run import usable_pixels
from arpes_ml_plugins.methods.separation_input import Setup
from arpes_ml_plugins.methods.shift_axis import independent, step_and_noise, step_of
from arpes_ml_plugins.networks.families import rows_of
from arpes_ml_plugins.parameters import is_number, shown

if TYPE_CHECKING:
    import torch

    from arpes_ml_plugins.separation.component_shifts import ComponentShifts
    from arpes_ml_plugins.separation.energy_shift import Shifts
    from arpes_ml_plugins.separation.value_noise import ValueNoise

__all__ = [
    "AUTO",
    "BLIND_SHIFT",
    "BY_COMPONENT",
    "SHIFT",
    "against_each_other",
    "aligned",
    "check_shift",
    "chemical",
    "doubts",
    "fewer",
    "is_by_component",
    "is_common",
    "left_apart",
    "of_each",
    "offset",
    "own_shifts",
    "searched",
    "spaced",
    "undetermined",
    "with_energies",
]

FOLLOWING = 0.5  # of the variance of shifts, by which components are arranged
AUTO, BY_COMPONENT = "auto", "by component"
"""Values of ``shift=``."""
CHANNELS_PER_COMPONENT = 2  # and of two more: fewer say nothing about shifts
ENOUGH = 10_000  # pixels: they show whether there are shifts

SHIFT = """
        shift : {"auto", "by component"}, bool or float
            Whether the energies of a pixel may be shifted, as by charging, band bending or strain.
            ``"auto"``: look for shifts that all components of a pixel have in common if all
            components are in the library and the pixels are complete, and correct them if they are
            significant; if components then still shift against each other, as an oxide that charges
            does on a metal that does not, correct shifts of each component if these explain most of
            what is left, and return their mean in each pixel as ``shift``. True: correct them in
            any case. A number: the same, with this largest shift in the unit of the axis.
            ``"by component"``: look for shifts of each component in any case; if those do not
            explain the data better than common ones, as ``"auto"``. Then ``shift`` has the
            dimension ``component``. Shifts are relative to their mean, which is weighted with the
            intensity of the component if each has its own; if the library has a spectrum that is
            known exactly, they are relative to its energy."""
"""Block of the docstrings of methods that correct shifts."""

BLIND_SHIFT = """
        shift : {"auto"}, bool or float
            Whether the energies of a pixel may be shifted, equally for all of its components, as by
            charging, band bending or strain. ``"auto"``: look for shifts, and correct them if they
            explain more of the data than one component more would. True: correct them in any case.
            A number: the same, with this largest shift in the unit of the axis. The data do not
            determine the zero of energy: the mean shift is zero."""
"""The same for methods that separate without a library."""


def check_shift(shift: Any, setup: Setup) -> None:
    """Refuse a value of ``shift=`` that these data or this library cannot have."""
    number = largest_shift(shift)
    words = (AUTO, BY_COMPONENT) if setup.library is not None else (AUTO,)
    word = isinstance(shift, str) and shift in words
    if not (word or isinstance(shift, bool) or (number is not None and number > 0)):
        names = ", ".join(map(repr, words))
        why = (
            "; shifts by component need a library of all components"
            if isinstance(shift, str) and shift == BY_COMPONENT
            else ""
        )
        raise ParameterError(
            f"shift must be {names}, True, False or a positive number, got {shown(shift)}{why}"
        )
    if shift == AUTO or shift is False:
        return
    if setup.known and not _complete(setup):
        raise ParameterError(
            "shifts can be found with a library of all components, or without any library; give "
            "one of all components, or pass shift=False"
        )
    if step_of(setup) is None:
        raise AxisError(
            f"shifts need an evenly spaced axis {setup.channels[0]!r} without other channels; "
            f"interpolate the data, or pass shift=False"
        )


def largest_shift(shift: Any) -> float | None:
    """The number that ``shift`` is, if it is one."""
    return float(shift) if is_number(shift) else None


def _complete(setup: Setup) -> bool:
    """Whether all components are in a library."""
    return setup.library is not None and setup.known == len(setup.components)


def aligned(
    cube: Cube, setup: Setup, noise: ValueNoise | None
) -> tuple[Cube, Shifts | ComponentShifts | None, str | None]:
    """The data with their shifts corrected, if there are any, and what to tell about them.

    ``noise`` is that of each value, if the data have such noise and no other is given.
    """
    if setup.shift is None or (setup.common_noise and setup.shift == AUTO):
        return cube, None, None
    if setup.shift is False:
        return cube, None, None if setup.known else hint(searched(cube, setup, noise))
    if setup.known and not _complete(setup):
        return cube, None, None
    largest = largest_shift(setup.shift)
    certain = setup.shift not in (AUTO, BY_COMPONENT)
    found = _found(cube, noise, setup, largest, certain=certain)
    if setup.shift == BY_COMPONENT and found is not None:
        apart = _apart(cube, setup, found)
        if apart is not None:
            return _straight(cube, apart), apart, _undone_apart(apart, setup)
    if found is None or not found.found:
        return cube, found, None if found is None else undetermined(found)
    if setup.shift == AUTO and not setup.known and not found.instead:
        spread = found.shift[usable_pixels(cube).flatten()].std()  # that they may have after all
        stderr = (found.stderr.square() + spread.square()).sqrt()
        return cube, found.none(stderr, found.step), _doubt(found)
    return _straight(cube, found), found, _undone(found, setup)


def _straight(cube: Cube, found: Shifts | ComponentShifts) -> Cube:
    """The data without their shifts."""
    flat = found.undone(cube.values.flatten(1))
    # The gaps were filled, and now have moved.
    whole = usable_pixels(cube).expand_as(cube.valid)
    return replace(cube, values=flat.reshape(cube.values.shape), valid=whole)


def is_common(found: Shifts | ComponentShifts | None) -> TypeGuard[Shifts]:
    """Whether shifts are those that all components of a pixel have in common."""
    from arpes_ml_plugins.separation.energy_shift import Shifts

    return isinstance(found, Shifts)


def is_by_component(found: Shifts | ComponentShifts | None) -> TypeGuard[ComponentShifts]:
    """Whether each component has shifts of its own."""
    from arpes_ml_plugins.separation.component_shifts import ComponentShifts

    return isinstance(found, ComponentShifts)


def against_each_other(
    cube: Cube, setup: Setup, common: Shifts | ComponentShifts | None, result: dict[str, Any]
) -> torch.Tensor | None:
    """Shifts of each component against the others in units of the axis, as a standard deviation,
    that a result with ``common`` ones leaves; None if it leaves none, or they cannot be seen.
    """
    from arpes_ml_plugins.separation.relative_shifts import relative_shifts

    if not is_common(common) or not _complete(setup):
        return None
    scales = step_and_noise(cube, setup)
    if scales is None or independent(cube, scales[1]) > 1:  # noise would be confirmed
        return None
    usable = usable_pixels(cube).flatten()
    found = relative_shifts(
        cube.values.flatten(1)[:, usable],
        scales[1],
        result["spectra"].nan_to_num().mT.to(cube.values),
        result["maps"].nan_to_num().flatten(1)[:, usable].to(cube.values),
        common.shift[usable] / scales[0],
    )
    return found * abs(scales[0]) if bool(found.any()) else None


def own_shifts(
    cube: Cube, setup: Setup, common: Shifts
) -> tuple[Cube, ComponentShifts, str] | None:
    """The data without shifts of each component by itself, if the data support them, and what to
    tell about them.
    """
    apart = _apart(cube, setup, common)
    if apart is None:
        return None
    told = (
        f"{_undone_apart(apart, setup)}; shift is their mean in each pixel, and "
        f"shift={BY_COMPONENT!r} shows each"
    )
    return _straight(cube, apart), apart, told


def left_apart(spread: torch.Tensor, setup: Setup) -> str:
    """Status of data whose components are left shifted against each other by ``spread (n,)``."""
    remedy = (
        "sum neighbouring pixels"
        if setup.shift in (AUTO, BY_COMPONENT)
        else f"to correct shifts, pass shift={BY_COMPONENT!r}"
    )
    return (
        f"the fit improves if each component may shift by itself, "
        f"{_spreads(spread.tolist(), setup)}: either the components shift against each other, or "
        f"one is missing, and spectra and stated errors may be wrong by it; {remedy}"
    )


def of_each(common: Shifts, spread: torch.Tensor, maps: torch.Tensor) -> Shifts:
    """Common shifts as those of each component, ``(n, t)``, whose errors contain how far they are
    shifted against each other, ``spread (n,)``.

    The shift of a pixel is then about the mean over its ``maps (n, t)``.
    """
    part = maps.nan_to_num().clamp(min=0)
    share, own = part / part.sum(0).clamp(min=1e-30), spread.to(part).square()[:, None]
    others = (share.square() * own).sum(0) - share.square() * own
    variance = own * (1 - share).square() + others
    stderr = (common.stderr.square() + variance).sqrt()
    return replace(common, shift=common.shift.expand_as(stderr), stderr=stderr)


def _apart(cube: Cube, setup: Setup, common: Shifts, **options: int) -> ComponentShifts | None:
    """Shifts of each component, if the data support them."""
    import torch

    from arpes_ml_plugins.separation.component_shifts import find_component_shifts

    scales = step_and_noise(cube, setup)
    if scales is None or setup.library is None or len(setup.components) < 2:
        return None
    step, noise = scales
    families = [torch.from_numpy(rows_of(f)).to(cube.values) for f in setup.library.values()]
    return find_component_shifts(
        cube.values.flatten(1),
        noise,
        families,
        step,
        tuple(cube.values.shape[1:]) or (1,),
        common,
        used=usable_pixels(cube).flatten(),
        **options,
    )


def _known(setup: Setup) -> torch.Tensor | int:
    """The middle of every family, or the number of components."""
    import torch

    if setup.library is None:
        return len(setup.components)
    return torch.from_numpy(
        np.stack([rows_of(family).mean(0) for family in setup.library.values()])
    )


def _exact(setup: Setup) -> torch.Tensor | None:
    """``(n,)`` bool: which spectra are known exactly."""
    import torch

    if setup.library is None:
        return None
    return torch.tensor([name in setup.library.fixed for name in setup.library], device="cpu")


def _undone(shifts: Shifts, setup: Setup) -> str:
    """Status of data whose shifts were corrected."""
    spread = float(shifts.shift.std())
    note = f"energies shift from pixel to pixel by {spread:.2g} (standard deviation): corrected"
    if shifts.limit is not None:
        note += (
            f"; pixels reach {shifts.limit:.2g}, the largest shift looked for: those that shift "
            f"further are not corrected rightly (a larger limit, shift=..., may take the spectra "
            f"for each other)"
        )
    if setup.known:
        return note
    return f"{note}; the data do not determine the zero of energy: the mean shift is set to zero"


def undetermined(shifts: Shifts) -> str | None:
    """Status of data whose shifts exist, but are less than their errors."""
    if shifts.undetermined is None:
        return None
    return (
        f"energies shift from pixel to pixel by about {shifts.undetermined:.2g} (standard "
        f"deviation), too small to measure in single pixels: not corrected; lines appear broader "
        f"by this (sum neighbouring pixels)"
    )


def _undone_apart(shifts: ComponentShifts, setup: Setup) -> str:
    """The same if each component has its own."""
    return (
        f"energies shift from pixel to pixel, differently for each component: "
        f"{_spreads(shifts.spread, setup)}: corrected"
    )


def _spreads(spreads: Sequence[float], setup: Setup) -> str:
    spread = zip(setup.components, spreads, strict=True)
    each = ", ".join(f"{str(name)!r} by {size:.2g}" for name, size in spread)
    return f"{each} (standard deviations)"


def doubts(result: dict[str, Any], shifts: Shifts, setup: Setup) -> str:
    """Status of a blind result with shifts that its components leave open in part."""
    from arpes_ml_plugins.separation.shift_doubts import copies, lonely

    notes = [
        f"components {setup.components[first]} and {setup.components[second]} have the same shape "
        f"{abs(shift):.2g} apart, within the range of the shifts: the data do not show whether a "
        f"pixel holds the one or the shifted other"
        for first, second, shift in copies(result["spectra"].nan_to_num(), shifts)
    ]
    alone = lonely(result["maps"].flatten(1))
    if alone:
        names = ", ".join(str(setup.components[number]) for number in alone)
        notes.append(
            f"hardly any pixel holds a mixture with component {names}: its shift against the "
            f"others follows from the assumption that neighbouring pixels shift alike"
        )
    return "; ".join(notes) or "ok"


def with_energies(result: dict[str, Any], shifts: Shifts, setup: Setup) -> torch.Tensor:
    """Errors of spectra from a library, whose energies follow from pixels that shift."""
    import torch

    from arpes_ml_plugins.separation.matching import SLIGHT
    from arpes_ml_plugins.separation.moved_spectra import broadening_variance, energy_variance

    stderr: torch.Tensor = result["spectra_stderr"]
    if shifts.energies is None or setup.library is None:
        return stderr
    spectra = result["spectra"].nan_to_num()
    inside = (result["library_distance"] <= SLIGHT).tolist()
    families = [
        torch.from_numpy(rows_of(family)).to(spectra) if own else None
        for family, own in zip(setup.library.values(), inside, strict=True)
    ]
    more = energy_variance(spectra.mT, shifts.energies.to(spectra), families, shifts.step)
    if shifts.undetermined is not None:
        more = more + broadening_variance(spectra.mT, shifts.undetermined, shifts.step)
    return (stderr.square() + more.mT).sqrt()


def offset(cube: Cube, setup: Setup, noise: ValueNoise | None) -> str:
    """Status of data that all spectra of the library miss by the same energy."""
    import torch

    from arpes_ml_plugins.separation.offset import common_offset

    scales = step_and_noise(cube, setup, noise)
    if scales is None or not _complete(setup):
        return "ok"
    centres = _known(setup)
    assert isinstance(centres, torch.Tensor)
    usable = usable_pixels(cube).flatten()
    found = common_offset(cube.values.flatten(1)[:, usable], scales[1], centres.to(cube.values))
    if not found:
        return "ok"
    return (
        f"all spectra of the library fit if they are moved by {found * scales[0]:+.3g} along "
        f"{str(setup.channels[0])!r}: move them, or calibrate the energies of the data"
    )


def chemical(result: dict[str, Any], shifts: Shifts, setup: Setup) -> str:
    """Status of spectra from a library whose energies follow from pixels that shift with them."""
    from arpes_ml_plugins.separation.shift_doubts import following, uncertain

    exact = _exact(setup)
    if exact is not None and bool(exact.all()):
        return "ok"
    notes = []
    if (error := uncertain(result["spectra"].nan_to_num(), shifts)) is not None:
        notes.append(
            f"shifts of single pixels have errors of {error:.2g}, too large for their lines: "
            f"energies of the spectra relative to each other may be wrong by as much, which "
            f"spectra_stderr does not contain (sum neighbouring pixels)"
        )
    share = following(result["maps"].flatten(1), shifts.shift)
    if share >= FOLLOWING:
        notes.append(
            f"the shifts follow the maps of the components ({share:.0%} of their variance), so "
            f"that energies of the spectra relative to each other depend on the few pixels of "
            f"several components, and are less certain than spectra_stderr"
        )
    return "; ".join(notes) or "ok"


def _doubt(shifts: Shifts) -> str:
    """Status of a blind result that shifts may explain, but components too."""
    spread = float(shifts.shift.std())
    return (
        f"the fit improves if energies may shift from pixel to pixel, by {spread:.2g} (standard "
        f"deviation), but one component more explains as much: either components are missing, or "
        f"charging looks like chemistry; to correct shifts, pass shift=True, or give a library of "
        f"all components: separate_sgmca(library=library)"
    )


def searched(cube: Cube, setup: Setup, noise: ValueNoise | None) -> Shifts | None:
    """Shifts of some pixels of data in which they are not corrected."""
    return _found(spaced(cube, ENOUGH), noise, setup)


def hint(found: Shifts | None) -> str | None:
    """Status of a result in which shifts were not corrected, but fit better."""
    if found is None or not found.found:
        return None
    spread = float(found.shift.std())
    return (
        f"the fit improves if energies may shift from pixel to pixel, by {spread:.2g} (standard "
        f"deviation): either components are missing, or charging looks like chemistry; to correct "
        f"shifts, pass shift='auto', or give a library of all components: "
        f"separate_sgmca(library=library)"
    )


def spaced(cube: Cube, number: int) -> Cube:
    """About this ``number`` of evenly spaced pixels of a large image."""
    return _thinned(cube, _every(cube, number))


def _every(cube: Cube, number: int) -> tuple[slice, ...]:
    """Slices of the values that select about this number of pixels."""
    axes = cube.values.ndim - 1
    every = max(1, round((cube.values[0].numel() / number) ** (1 / max(axes, 1))))
    return (slice(None), *[slice(None, None, every)] * axes)


def _thinned(cube: Cube, some: tuple[slice, ...]) -> Cube:
    return replace(cube, values=cube.values[some], valid=cube.valid[some])


def fewer(
    cube: Cube,
    setup: Setup,
    noise: ValueNoise | None,
    most: int,
    spectra: Sequence[torch.Tensor],
) -> tuple[int, float] | None:
    """Fewer components than ``most`` and the spread of their shifts, if these fit better.

    ``spectra`` are those of a separation into 1, 2, ... components, ``(m, n)``.
    """
    from arpes_ml_plugins.separation.shifted_count import fewer_with_shifts

    cube = spaced(cube, ENOUGH)
    known = step_and_noise(cube, setup, noise)
    if known is None or most < 2:
        return None
    step, of_channels = known
    usable = usable_pixels(cube).flatten()
    return fewer_with_shifts(cube.values, of_channels, step, spectra[: most + 1], usable)


def _found(
    cube: Cube,
    noise: ValueNoise | None,
    setup: Setup,
    largest: float | None = None,
    *,
    certain: bool = False,
) -> Shifts | None:
    """Shifts of data that can have them: on an evenly spaced axis.

    Noise that channels share looks like shifts to them all; not to channels far enough apart.
    """
    from arpes_ml_plugins.separation.energy_shift import find_shifts
    from arpes_ml_plugins.separation.known_shift import find_known_shifts
    from arpes_ml_plugins.separation.value_noise import value_noise

    values, known = cube.values, _known(setup)
    if noise is None and (setup.noise is not None or setup.common_noise):
        noise = value_noise(values, cube.valid)
    scales = step_and_noise(cube, setup, noise)
    if scales is None:
        return None
    step, of_channels = scales
    shape = tuple(values.shape[1:]) or (1,)
    usable = usable_pixels(cube).flatten()

    def search(every: int) -> Shifts:
        rows = slice(None, None, every)
        pixels, deviation, apart = values.flatten(1)[rows], of_channels[rows], step * every
        if isinstance(known, int):
            by_value = None if noise is None else noise.at(rows)
            return find_shifts(
                pixels, deviation, known, apart, shape, largest, usable, by_value, certain=certain
            )
        centres, exact = known.to(values)[:, rows], _exact(setup)
        return find_known_shifts(
            pixels,
            deviation,
            centres,
            apart,
            shape,
            largest,
            usable,
            exact,
            None if noise is None else noise.at(rows),
            certain=certain,
        )

    every = 1 if certain else independent(cube, of_channels)
    spectra = known if isinstance(known, int) else len(known)
    if every > 1 and len(values) // every >= CHANNELS_PER_COMPONENT * (spectra + 2):
        found = search(every)
        if not found.found:
            return replace(found, step=step)
    return search(1)
