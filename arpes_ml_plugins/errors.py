"""Errors and warnings; every error is also a subclass of the matching builtin error."""

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
    """A required axis (energy, momentum, ...) is missing, ambiguous or unusable."""


class DataError(ArpesMLError, ValueError):
    """The values of the data cannot be processed: empty, all NaN, infinite, ..."""


class DataTypeError(ArpesMLError, TypeError):
    """The data have an unsupported type: complex, strings, not xarray, ..."""


class ParameterError(ArpesMLError, ValueError):
    """A parameter has a value outside its range, or no parameter has this name."""


class DeviceError(ArpesMLError, RuntimeError):
    """The requested device does not exist on this machine."""


class FileError(ArpesMLError, OSError):
    """A file cannot be read or written; the message names it and says what is wrong."""


class MissingFileError(FileError, FileNotFoundError):
    """A file or its folder does not exist."""


class MissingPackageError(ArpesMLError, ImportError):
    """A required optional package is not installed; the message says which."""


class ForkError(ArpesMLError, RuntimeError):
    """The process was forked from one that had used torch's threads, so torch would hang."""


class OutOfMemoryError(ArpesMLError, MemoryError):
    """A single image (or series, or mixture) does not fit into memory."""


class RegistrationError(ArpesMLError, ValueError):
    """A plugin offers something that cannot be registered."""


class ConvergenceWarning(UserWarning):
    """An iteration stopped at its limit; the result records where."""


class CountsWarning(UserWarning):
    """The values are not counts with the assumed gain or noise."""


class DeviceWarning(UserWarning):
    """The computation was moved to another device than the chosen one."""


class DistributionWarning(UserWarning):
    """The data differ from those a network was trained on, or the result does not fit them."""


class FileWarning(UserWarning):
    """A file was read, but parts of it could not be decoded."""


class PluginWarning(UserWarning):
    """A third-party plugin was left out; everything else works."""


class ReplayWarning(UserWarning):
    """A result is replayed with other data, software or threads than those recorded."""
