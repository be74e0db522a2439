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
    "FileError",
    "FileWarning",
    "ForkError",
    "MissingFileError",
    "MissingPackageError",
    "OutOfMemoryError",
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


class FileError(ArpesMLError, OSError):
    """A file cannot be read or written; the message names it and says what is wrong."""


class MissingFileError(FileError, FileNotFoundError):
    """A file or the folder for it does not exist."""


class MissingPackageError(ArpesMLError, ImportError):
    """An optional package is needed and not installed; the message says which."""


class ForkError(ArpesMLError, RuntimeError):
    """The process is a fork of one that has used torch's threads; torch would hang."""


class OutOfMemoryError(ArpesMLError, MemoryError):
    """Not even one image (or series, or mixture) at a time fits into memory."""


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


class FileWarning(UserWarning):
    """A file was read, but not all of it means what it was meant to."""


class PluginWarning(UserWarning):
    """A third-party plugin was left out; everything else works."""


class ReplayWarning(UserWarning):
    """A result is replayed under other circumstances than those recorded."""
