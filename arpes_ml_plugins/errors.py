"""Errors and warnings; every error also is the builtin error that one would expect."""

from __future__ import annotations

__all__ = [
    "ArpesMLError",
    "AxisError",
    "ConvergenceWarning",
    "CountsWarning",
    "DataError",
    "DataTypeError",
    "DeviceError",
    "DeviceWarning",
    "DistributionWarning",
    "MissingPackageError",
    "ParameterError",
    "PluginWarning",
    "RegistrationError",
    "ReplayWarning",
]


class ArpesMLError(Exception):
    """Base class of all errors raised on purpose by this package."""


class AxisError(ArpesMLError, ValueError):
    """A needed axis (energy, momentum, ...) is missing, ambiguous or unusable."""


class DataError(ArpesMLError, ValueError):
    """The values of the data cannot be worked on: empty, all NaN, infinite, ..."""


class DataTypeError(ArpesMLError, TypeError):
    """The data are of a type that has no meaning here: complex, strings, not xarray, ..."""


class ParameterError(ArpesMLError, ValueError):
    """A parameter has a value outside its range, or there is no parameter of that name."""


class DeviceError(ArpesMLError, RuntimeError):
    """The device asked for does not exist on this machine."""


class MissingPackageError(ArpesMLError, ImportError):
    """An optional package is needed and not installed; the message says which."""


class RegistrationError(ArpesMLError, ValueError):
    """A plugin offers something that the registry cannot take."""


class ConvergenceWarning(UserWarning):
    """An iteration stopped at its limit; the result says where."""


class CountsWarning(UserWarning):
    """The values are not what the method takes them for: counts with a known gain."""


class DeviceWarning(UserWarning):
    """The work was moved to another device than the one chosen."""


class DistributionWarning(UserWarning):
    """Data are outside what a network was trained for, or do not fit the result."""


class PluginWarning(UserWarning):
    """A third-party plugin was left out; everything else works."""


class ReplayWarning(UserWarning):
    """A result is replayed under other circumstances than those recorded."""
