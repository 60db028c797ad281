"""Inner products of vectors whose sum is exact, so that no order in which BLAS may add changes a bit.

BLAS adds up one row by itself in another order than the same row among others, so a score would depend, in its last
bits, on who is scored beside it. Here both sides are whole multiples of a unit, of at most BITS bits: a product has at
most 2 · BITS bits, and up to 512 of them fit float64's 53 (with room for the sign of none), so nothing is ever rounded.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

BITS = 22
LONGEST = 512


def coarse(vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    """Each row rounded to multiples of 2^-BITS of the power of two at or above its largest entry; relative to that
    entry nothing moves by more than 2^-BITS (float32 keeps 2^-24)."""
    largest = np.abs(vectors).max(axis=1, initial=0.0, keepdims=True)
    unit = np.exp2(np.ceil(np.log2(np.where(largest > 0, largest, 1.0))) - BITS)
    return np.asarray(np.rint(vectors / unit) * unit)


def product(left: NDArray[np.float64], right: NDArray[np.float64]) -> NDArray[np.float64]:
    """left · rightᵀ, float64 [left rows, right rows]; a row depends on its own row of `left` alone, to the last bit.

    `right` must be `coarse`. `left` is taken as two coarse parts, so it keeps 2 · BITS bits.

    Raises:
        ValueError: vectors longer than LONGEST.
    """
    if left.shape[1] > LONGEST:
        raise ValueError(f"exact_products: vectors of {left.shape[1]} numbers, expected {LONGEST} or fewer")
    high = coarse(left)
    return np.asarray(high @ right.T + coarse(left - high) @ right.T)
