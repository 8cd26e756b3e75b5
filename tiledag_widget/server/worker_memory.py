"""What a worker keeps of the memory that its tasks have freed.

Given back to the system, as the C library and TileDB's do, it comes again page by page: for a function that reads some
megabytes of an array that is a fifth of its time. So some is kept between tasks, and no more than `KEPT_BYTES`.
"""

from __future__ import annotations

import ctypes
import functools
import os
from typing import Any, Final

__all__ = ["KEPT_BYTES", "give_back", "keep"]

KEPT_BYTES: Final = 64 << 20
LARGEST_KEPT: Final = 32 << 20
"""What is larger goes back at once; glibc takes no higher number."""
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # of <malloc.h>


class _Mallinfo2(ctypes.Structure):
    """Of <malloc.h>."""

    _fields_ = [
        (name, ctypes.c_size_t)
        for name in "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost".split()
    ]


@functools.cache
def keep() -> None:
    """From now on this process keeps what is freed, where its C library is glibc; see `give_back`."""
    library = _glibc()
    if library is None:
        return
    library.mallopt(_MMAP_THRESHOLD, LARGEST_KEPT)
    library.mallopt(_TRIM_THRESHOLD, KEPT_BYTES)
    os.environ.setdefault("TILEDB_SM_MEM_MALLOC_TRIM", "false")  # else each query gives everything back


def give_back() -> None:
    """Between two tasks: what is free goes back to the system if it is more than `KEPT_BYTES`."""
    library = _glibc()
    if library is not None and library.mallinfo2().fordblks > KEPT_BYTES:
        library.malloc_trim(0)


@functools.cache
def _glibc() -> Any:
    try:
        library = ctypes.CDLL(None)
        library.mallinfo2.restype = _Mallinfo2
        library.malloc_trim.argtypes = [ctypes.c_size_t]
        library.mallopt.argtypes = [ctypes.c_int, ctypes.c_int]
    except (OSError, AttributeError, TypeError):  # another library, or an old one
        return None
    return library
