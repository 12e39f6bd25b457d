"""The NVIDIA driver as flopmeter speaks to it: loading, errors in sentences, blank values.

Owns: opening and closing the library, the table that turns error codes into sentences, and what
counts as "no value".
May touch: the driver's library, through nvidia-ml-py.
Called by the modules of this package, nobody else.

A newer binding on an older driver is fine: a function the library lacks raises an error like any
other. Sources: nvidia-ml-py 13.615.71, NVML API reference, DCGM dcgm_fields.h (blank values).
"""

from __future__ import annotations

import contextlib
import ctypes
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pynvml

_LIBRARY = "libnvidia-ml.so.1"

# Codes of nvmlReturn_t (NVML API reference, "Device Enums"): integers, since bindings differ.
_UNINITIALIZED = 1
_NOT_SUPPORTED = 3
_NO_PERMISSION = 4
_DRIVER_NOT_LOADED = 9
_LIBRARY_NOT_FOUND = 12
_FUNCTION_NOT_FOUND = 13
_GPU_IS_LOST = 15
_RESET_REQUIRED = 16
_OPERATING_SYSTEM = 17
_VERSION_MISMATCH = 18
_GPU_NOT_FOUND = 28

_SENTENCES = {
    _UNINITIALIZED: "the driver was closed under the agent; it is opened again by itself",
    _NO_PERMISSION: "the driver refuses it to this user: grant access to /dev/nvidia*",
    _DRIVER_NOT_LOADED: "the NVIDIA kernel driver is not loaded: load it (modprobe nvidia), and "
    "see dmesg where that fails",
    _LIBRARY_NOT_FOUND: f"{_LIBRARY} was not found: install the NVIDIA driver, or start the "
    "container with the NVIDIA runtime",
    _GPU_IS_LOST: "the GPU is lost (it fell off the bus, XID 79): reset it or restart the node",
    _RESET_REQUIRED: "the GPU has to be reset before it can be used: reset it or restart the node",
    _OPERATING_SYSTEM: "the operating system blocks the driver: look at its security policy",
    _VERSION_MISMATCH: "the NVIDIA driver was replaced and library and kernel module differ: "
    "reload the module or restart the node, then restart the agent",
    _GPU_NOT_FOUND: "the GPU is no longer there: look at dmesg",
}

# After these no other call on the device (or on the driver) can work either.
_FATAL = frozenset(
    {
        _UNINITIALIZED,
        _DRIVER_NOT_LOADED,
        _LIBRARY_NOT_FOUND,
        _GPU_IS_LOST,
        _RESET_REQUIRED,
        _VERSION_MISMATCH,
        _GPU_NOT_FOUND,
    }
)

# What will not change as long as the driver runs, so that asking again is waste.
_NEVER = frozenset({_NOT_SUPPORTED, _FUNCTION_NOT_FOUND})

# DCGM and some drivers write "blank" as numbers: 2^47 and the three after it as a double, the
# sixteen below 2^63 and below 2^31 as integers (dcgm_fields.h), all ones elsewhere in NVML.
_BLANK_DOUBLE = 140_737_488_355_328.0
_BLANK_DOUBLES = frozenset(_BLANK_DOUBLE + kind for kind in range(4))
_BLANK_INT64 = 0x7FFF_FFFF_FFFF_FFF0
_BLANK_INT32 = frozenset(range(0x7FFF_FFF0, 0x8000_0000)) | {0xFFFF_FFFF}


class DriverError(Exception):
    """A call the driver refused; the text says what and what to do.

    Attributes:
        code: the driver's own number of the error; -1 where it gave none.
        fatal: whether nothing else can be asked of this device before it comes back.
    """

    def __init__(self, call: str, code: int, spelled: str, *, fatal: bool = False) -> None:
        """Take the sentence for a code, or the driver's own words and the call that failed."""
        super().__init__(_SENTENCES.get(code) or f"{call} says: {spelled}")
        self.code = code
        self.fatal = fatal or code in _FATAL


class Query:
    """One optional call; no longer made once the driver has said that it does not exist."""

    def __init__(self, call: Callable[..., Any], *arguments: object) -> None:
        """Remember what to call."""
        self._call = call
        self._arguments = arguments
        self.absent = False
        self.reason = ""

    def __call__(self, *more: object) -> Any | None:
        """Ask; None where there is no value now.

        Raises:
            DriverError: the device or the driver is gone.
        """
        if self.absent:
            return None
        try:
            return self._call(*self._arguments, *more)
        except pynvml.NVMLError as error:
            mapped = _mapped(self._call, error)
            self.absent = error.value in _NEVER
            self.reason = str(mapped)
            if mapped.fatal:
                raise mapped from error
            return None
        except UnicodeDecodeError:
            self.reason = "the driver gave a text that is none"
            return None


def ask(call: Callable[..., Any], *arguments: object) -> Any:
    """Make a call whose answer is needed.

    Raises:
        DriverError: it failed.
    """
    try:
        return call(*arguments)
    except pynvml.NVMLError as error:
        raise _mapped(call, error) from error


def open_driver(library_path: Path | None) -> str:
    """Initialise the driver's library.

    Args:
        library_path: the library's file, where the dynamic linker does not find it by itself.

    Returns:
        The driver's version.

    Raises:
        DriverError: no library, no driver, or no permission.
    """
    if library_path is not None:
        try:
            # The binding asks the linker for the soname, which is now the one already loaded.
            ctypes.CDLL(str(library_path))
        except OSError as error:
            raise DriverError(f"loading {library_path}", -1, str(error)) from error
    ask(pynvml.nvmlInit)
    try:
        return str(ask(pynvml.nvmlSystemGetDriverVersion))
    except DriverError:
        close_driver()
        raise


def close_driver() -> None:
    """Give the library back; one that is already closed is closed."""
    with contextlib.suppress(pynvml.NVMLError):
        pynvml.nvmlShutdown()


def number_or_none(raw: float) -> float | None:
    """A double the driver gave, or None where it stands for "no value"."""
    if not math.isfinite(raw) or raw < 0 or raw in _BLANK_DOUBLES:
        return None
    return raw


def count_or_none(raw: int | None) -> int | None:
    """An integer the driver gave, or None where it stands for "no value"."""
    if raw is None or raw < 0 or raw >= _BLANK_INT64 or raw in _BLANK_INT32:
        return None
    return raw


def _mapped(call: Callable[..., Any], error: pynvml.NVMLError) -> DriverError:
    return DriverError(getattr(call, "__name__", "the driver"), error.value, str(error))
