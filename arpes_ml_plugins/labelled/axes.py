"""Find axes by their role (energy, momentum, time, ...) instead of by their name."""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from arpes_ml_plugins.errors import AxisError

__all__ = [
    "IMAGE",
    "ROLES",
    "SIZES",
    "find_axis",
    "is_binding",
    "listed",
    "numbers_along",
    "plain_name",
    "plays",
    "resolve_dims",
    "same_along",
]

ROLES: dict[str, tuple[tuple[str, ...], ...]] = {
    "energy": (
        (
            *("eV", "energy", "binding_energy", "kinetic_energy", "binding", "kinetic", "E"),
            *("BE", "KE", "Eb", "Ek", "E_bind", "E_kin", "E-E_F", "energies"),
        ),
        ("omega",),
        ("tof", "time_of_flight"),
    ),
    # Tiers: the analyser's slit direction comes before the axes that are scanned, so that in a
    # Fermi-surface map (theta, eV, phi) the image is (eV, phi) and theta is a batch.
    "momentum": (
        (
            *("phi", "kp", "theta_par", "k_parallel", "k_par", "k", "analyzer", "analyser"),
            *("slit", "slit_angle", "thetax", "Y-Scale", "emission_angle"),
        ),
        ("kx", "ky", "alpha", "angle", "angles", "angular0", "angular1"),
        (
            *("kz", "k_perp", "theta", "beta", "psi", "chi", "polar", "tilt", "azi", "azimuth"),
            *("ana_polar", "sapolar", "deflector", "defl_par", "defl_perp", "thetay"),
        ),
    ),
    "time": (("delay", "pump_probe_delay", "delay_time", "time", "t"),),
    "space": (
        ("x", "y", "z", "X", "Y", "Z", "x1", "x2", "x3", "position", "spatial0", "spatial1"),
    ),
    "tau": (
        ("tau", "imaginary_time"),
        ("iwn", "wn", "w_n", "iw", "iomega_n", "omega_n", "matsubara", "inu", "nu_n"),
        ("l", "legendre"),
    ),
}
"""Names an axis of each role goes by: tiers, the preferred one first.

They are those of PyARPES, erlab, peaks, sed, specsanalyzer, ARpest, NXmpes and common files, and
are compared without regard to case, separators and a unit in brackets (:func:`plain_name`).
"""

BINDING = ("binding_energy", "binding", "BE", "Eb", "E_bind")
"""Names of energies that decrease with the kinetic energy."""

SCANNED = ("delay", "time", "temperature", "T", "hv", "photon_energy", "pass", "sweep", "repeat")
"""Axes along which maps at constant energy may be scanned."""

FEW = 16
"""Energies that make no image: maps of two momenta at fewer are images at constant energy."""

SHOWN = 6
"""Number of known names that an error lists."""

IMAGE = ("energy", "momentum")
"""Roles of the axes of an image."""

SIZES = 1e-100, 1e100
"""Range of the largest number along an axis, so that squares and quotients are finite."""

Resolver = Callable[[xr.DataArray, str], "Hashable | None"]


def plain_name(name: Hashable) -> str:
    """A name as it is compared: lower case, without separators or a unit in brackets.

    Single letters keep their case: ``t`` is a time and ``T`` a temperature.

    Examples
    --------
    >>> plain_name("Kinetic Energy [eV]"), plain_name("E-E_F"), plain_name("theta_par")
    ('kineticenergy', 'eef', 'thetapar')
    """
    bare = re.sub(r"[\[(][^\[\]()]*[\])]\s*$", "", str(name))
    letters = re.sub(r"[\W_]+", "", bare)
    return letters.lower() if len(letters) > 1 else letters


PLAIN = {
    role: tuple(tuple(plain_name(name) for name in tier) for tier in tiers)
    for role, tiers in ROLES.items()
}


def plays(name: Hashable, role: str) -> bool:
    """Whether ``name`` is one that an axis of this role goes by."""
    return any(plain_name(name) in tier for tier in PLAIN[role])


def is_binding(name: Hashable) -> bool:
    """Whether energies of this name decrease with the kinetic energy."""
    return plain_name(name) in map(plain_name, BINDING)


def find_axis(data: xr.DataArray, role: str) -> Hashable:
    """Name of the dimension that plays ``role``.

    Parameters
    ----------
    data
        Any array.
    role
        A key of :data:`ROLES`.

    Returns
    -------
    Hashable
        The dimension of the first tier of names that the array has; one of a single point only
        if there is no other. Of two momenta or scanned angles, such as ``kx`` and ``ky``, the
        longer one; of two of one length, the one listed first in :data:`ROLES`.

    Raises
    ------
    AxisError
        No dimension has a known name, or two of one tier do that are not two directions.

    Examples
    --------
    >>> find_axis(xr.DataArray([[1.0]], dims=("phi", "eV")), "energy")
    'eV'
    """
    if role not in ROLES:
        raise AxisError(f"unknown axis role {role!r}; known roles: {', '.join(ROLES)}")
    candidates = [dim for dim in data.dims if data.sizes[dim] > 1] or list(data.dims)
    for place, tier in enumerate(PLAIN[role]):
        found = [dim for dim in candidates if plain_name(dim) in tier]
        if len(found) == 1:
            return found[0]
        if found and role == "momentum" and place > 0:
            return max(found, key=lambda d: (data.sizes[d], -tier.index(plain_name(d))))
        if found:
            raise AxisError(
                f"expected one {role} axis, but {listed(found)} could each be it "
                f"(dimensions: {_described(data)}); say which with dims=, for example "
                f"dims={{'{role}': '{found[0]}'}}"
            )
    raise AxisError(
        f"no {role} axis among the dimensions {_described(data)}; pass the name of yours, "
        f"dims={{'{role}': ...}}, or rename it to one that is known, such as "
        f"{', '.join(ROLES[role][0][:SHOWN])} (or add it to a plugin's resolve_axis hook)"
    )


def numbers_along(axis: xr.DataArray) -> NDArray[np.float64]:
    """The values of a coordinate, if they are finite real numbers.

    Raises
    ------
    AxisError
        Dates, words, complex numbers, NaN, infinities, or numbers with no squares.

    Examples
    --------
    >>> numbers_along(xr.DataArray([0, 1], dims="eV", name="eV"))
    array([0., 1.])
    """
    if axis.dtype.kind not in "iuf":
        raise AxisError(
            f"the coordinate {axis.name!r} must hold real numbers, got dtype {axis.dtype}; assign "
            f"numbers, for example data.assign_coords({{{axis.name!r}: range({axis.size})}})"
        )
    values = axis.values.astype(np.float64)
    lost = int((~np.isfinite(values)).sum())
    if lost:
        raise AxisError(
            f"the coordinate {axis.name!r} must hold finite numbers, but {lost} of {values.size} "
            f"are NaN or infinite; leave these points out or assign the coordinate again"
        )
    top = float(np.abs(values).max(initial=0.0))
    if top and not SIZES[0] < top < SIZES[1]:
        raise AxisError(
            f"the coordinate {axis.name!r} reaches {top:.3g}, whose square overflows or vanishes; "
            f"choose another unit"
        )
    return values


def resolve_dims(
    data: xr.DataArray,
    roles: Sequence[str],
    dims: Mapping[str, Hashable] | Sequence[Hashable] | None = None,
    resolver: Resolver = find_axis,
) -> tuple[Hashable, ...]:
    """One dimension for each role, in the order of ``roles``.

    ``dims`` overrides what the roles find: a mapping role -> dimension (the missing roles are
    found), or a sequence with one dimension for each role. If all roles but one are settled and
    one dimension is left, that one is taken whatever its name. An image of two momenta (or angles)
    at constant energy is taken as it is, its first axis in the place of the energy; all axes along
    which such images were scanned (delay, temperature, photon energy, fewer than 16 energies) are a
    batch.

    Examples
    --------
    >>> resolve_dims(xr.DataArray([[1.0, 2], [3, 4]], dims=("kx", "ky")), ("energy", "momentum"))
    ('kx', 'ky')
    """
    chosen = _from_user(data, roles, dims) or _constant_energy(data, roles, resolver)
    missing: dict[str, AxisError] = {}
    for role in roles:
        if role in chosen:
            continue
        rest = [dim for dim in data.dims if dim not in chosen.values()]
        if len(chosen) == len(roles) - 1 and len(rest) == 1:
            chosen[role] = rest[0]
            continue
        try:
            # A laboratory's hook may answer with names that other data do not have.
            answer = resolver(data, role)
            chosen[role] = answer if answer in data.dims else find_axis(data, role)
        except AxisError as error:
            missing[role] = error
    if missing:
        chosen |= _by_what_is_left(data, roles, chosen, missing)
    if len(set(chosen.values())) < len(roles):
        raise AxisError(
            f"the roles {listed(roles)} need different dimensions, but got "
            f"{listed(list(chosen.values()))}; pass dims= with one dimension for each"
        )
    return tuple(chosen[role] for role in roles)


def _constant_energy(
    data: xr.DataArray, roles: Sequence[str], resolver: Resolver
) -> dict[str, Hashable]:
    """The axes of a map of two momenta (or angles) at constant energy, scanned or not."""
    long = [dim for dim in data.dims if data.sizes[dim] > 1]
    scanned = {plain_name(name) for name in SCANNED}
    momenta = [dim for dim in long if plays(dim, "momentum")]
    few = _few_energies(data, momenta)
    others = [dim for dim in long if dim not in (*momenta, few) and plain_name(dim) not in scanned]
    if tuple(roles) != IMAGE or len(momenta) != 2 or others:
        return {}
    if few is None and _answered(data, resolver):
        return {}
    first = {dim: _tier(dim, "momentum") for dim in momenta}
    slit = momenta[0] if first[momenta[0]] < first[momenta[1]] else momenta[1]
    return {"energy": next(dim for dim in momenta if dim != slit), "momentum": slit}


def _few_energies(data: xr.DataArray, momenta: Sequence[Hashable]) -> Hashable | None:
    """An energy axis that is too short for an image, beside two momenta that are not."""
    energies = [dim for dim in data.dims if plays(dim, "energy") and 1 < data.sizes[dim] < FEW]
    large = all(data.sizes[dim] >= FEW for dim in momenta)
    return energies[0] if len(energies) == 1 and large else None


def _tier(name: Hashable, role: str) -> int:
    return next(place for place, tier in enumerate(PLAIN[role]) if plain_name(name) in tier)


def _answered(data: xr.DataArray, resolver: Resolver) -> bool:
    """Whether a resolver knows an energy axis that is more than a single point."""
    try:
        answer = resolver(data, "energy")
    except AxisError:
        return False
    return answer in data.dims and data.sizes[answer] > 1


def _by_what_is_left(
    data: xr.DataArray,
    roles: Sequence[str],
    chosen: Mapping[str, Hashable],
    missing: Mapping[str, AxisError],
) -> dict[str, Hashable]:
    """Dimensions for the roles that no name was found for, or the first error with a remedy."""
    rest = [dim for dim in data.dims if dim not in chosen.values()]
    if len(missing) == len(rest) == 1:
        return dict(zip(missing, rest, strict=True))
    long = [dim for dim in data.dims if data.sizes[dim] > 1]
    angles = all(plays(dim, "momentum") for dim in long)
    if tuple(roles) == IMAGE and "energy" in missing and len(long) == 2 and angles:
        momentum = chosen.get("momentum", long[1])
        return {"energy": next(dim for dim in long if dim != momentum), "momentum": momentum}
    error = next(iter(missing.values()))
    if len(data.dims) < len(roles):
        raise AxisError(
            f"expected data along {' and '.join(roles)}, got the dimensions {_described(data)}; "
            f"pass the whole image, not a curve through it"
        ) from error
    if len(roles) < 2:
        raise error
    spare = iter(dim for dim in [*long, *data.dims] if dim not in chosen.values())
    example = tuple(chosen[role] if role in chosen else next(spare) for role in roles)
    known = all(role in ROLES for role in missing)
    if known and len(missing) > 1 and not any(plays(d, r) for d in data.dims for r in missing):
        names = " and ".join(repr(ROLES[role][0][0]) for role in missing)
        raise AxisError(
            f"no {' or '.join(missing)} axis among the dimensions {_described(data)}; name them in "
            f"the order {', '.join(roles)}: dims={example}, or rename them, for example to {names}"
        ) from error
    raise AxisError(f"{error}. To work on other axes, name them in this order: dims={example}")


def _from_user(
    data: xr.DataArray,
    roles: Sequence[str],
    dims: Mapping[str, Hashable] | Sequence[Hashable] | None,
) -> dict[str, Hashable]:
    if dims is None:
        return {}
    ordered = isinstance(dims, Sequence) and not isinstance(dims, str)
    if not isinstance(dims, Mapping) and not (ordered and len(dims) == len(roles)):
        raise AxisError(
            f"dims must name one dimension for each of {listed(roles)}, in this order, or map "
            f"roles to dimensions; got {dims!r}"
        )
    mapping = dict(dims) if isinstance(dims, Mapping) else dict(zip(roles, dims, strict=True))
    for role, dim in mapping.items():
        if role not in roles:
            raise AxisError(f"dims names the role {role!r}; this method has {listed(roles)}")
        if dim not in data.dims:
            raise AxisError(
                f"dims names {dim!r} as the {role} axis, but the dimensions are {_described(data)}"
            )
    return mapping


def _described(data: xr.DataArray) -> str:
    if not data.dims:
        return "(none: the array is a single number)"
    return ", ".join(f"{dim} ({size})" for dim, size in data.sizes.items())


def listed(names: Iterable[Hashable]) -> str:
    """Names in a message: 'a', 'b' and 'c'."""
    *first, last = map(repr, names)
    return f"{', '.join(first)} and {last}" if first else last


def same_along(one: xr.DataArray, other: xr.DataArray, dim: Hashable) -> bool:
    """Whether both have as many values along ``dim``, at the same coordinates if both have any."""
    same = one.sizes[dim] == other.sizes[dim]
    if same and dim in one.coords and dim in other.coords:
        same = np.array_equal(one[dim].values, other[dim].values)
    return same
