"""The search for what is most likely, of parameters above 0."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import optimize
from threadpoolctl import threadpool_limits

Array = NDArray[np.float64]

# Parameters are looked for within exp(±FARTHEST), in units that make them about 1: beyond it a likelihood is flat to
# double precision, and an optimum there is none.
FARTHEST = 12.0


def most_likely(
    log_likelihood: Callable[[Array], tuple[float, Array]], starts: Sequence[Sequence[float]], observations: float
) -> tuple[Array, float]:
    """(parameters, their log-likelihood) of the best of the searches from `starts`, by L-BFGS-B over logarithms.

    `log_likelihood` gives the value and its gradient, of so many `observations`: where to stop is a matter of one.
    """

    def minus(logs: Array) -> tuple[float, Array]:
        parameters = np.exp(logs)
        value, slope = log_likelihood(parameters)
        return -value / observations, -slope * parameters / observations

    options = {"maxiter": 1000, "ftol": 1e-13, "gtol": 1e-9}
    # Four numbers are no work for two threads, but to be waited for: on a busy machine eight fits took 115 s, now 20.
    with threadpool_limits(1, "blas"):
        tried = [
            optimize.minimize(
                minus,
                np.log(start),
                jac=True,
                method="L-BFGS-B",
                bounds=[(-FARTHEST, FARTHEST)] * len(start),
                options=options,
            )
            for start in starts
        ]
    found = min(tried, key=lambda one: float(one.fun))
    return np.exp(found.x), -float(found.fun) * observations
