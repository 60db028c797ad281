"""Arrays and sparse matrices of a model's artefact as npz, without pickle; the same arrays give the same bytes."""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray
from scipy import sparse


def packed(**arrays: NDArray[np.generic]) -> bytes:
    """Named arrays as one npz."""
    file = io.BytesIO()
    np.savez(file, allow_pickle=False, **arrays)
    return file.getvalue()


def unpacked(content: bytes) -> dict[str, NDArray[np.generic]]:
    """The arrays that `packed` wrote."""
    with np.load(io.BytesIO(content), allow_pickle=False) as found:
        return {name: found[name] for name in found.files}


def matrix_packed(matrix: sparse.csr_matrix) -> bytes:
    """A sparse matrix as one npz."""
    shape = np.array(matrix.shape, dtype=np.int64)
    return packed(data=matrix.data, indices=matrix.indices, indptr=matrix.indptr, shape=shape)


def matrix_unpacked(content: bytes) -> sparse.csr_matrix:
    """The matrix that `matrix_packed` wrote."""
    found = unpacked(content)
    shape = tuple(int(n) for n in found["shape"])
    return sparse.csr_matrix((found["data"], found["indices"], found["indptr"]), shape=shape)
