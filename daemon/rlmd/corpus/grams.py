"""Short pieces of text as numbers, for a filter in front of exact search.  Runs in a worker process.

Three and four bytes in a row are hashed to 14 bits.  On 1.3 GB of C, three alone leave 5.0 % of
blocks of 16 KiB for a query, four alone 4.4 %, both in one row of bits 3.5 %.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

CODE_BITS = 14
CODES = 1 << CODE_BITS

_FACTORS = tuple(map(np.uint16, (0x9E35, 0x79B9, 0x4F1B, 0xB5C7)))
_OF_FOUR = np.uint16(0x5555)
_SHIFT = np.uint16(16 - CODE_BITS)

Codes = npt.NDArray[np.uint16]


def codes(text: bytes) -> tuple[Codes, Codes]:
    """Return the code of the three bytes at each place, and that of the four."""
    data = np.frombuffer(text, np.uint8).astype(np.uint16)
    three = data[:-2] * _FACTORS[0]
    three += data[1:-1] * _FACTORS[1]
    three += data[2:] * _FACTORS[2]
    four = data[3:] * _FACTORS[3]
    four += three[:-1]
    four ^= _OF_FOUR
    return three >> _SHIFT, four >> _SHIFT
