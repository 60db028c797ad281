"""What a function that runs on Spark's workers needs of a broadcast, so that algorithms name no Spark."""

from __future__ import annotations

from typing import IO, TYPE_CHECKING, Any, Protocol, TypeVar

if TYPE_CHECKING:
    from pyspark import Broadcast, SparkContext

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class HasValue(Protocol[T_co]):
    """A Spark broadcast, or anything else that carries one value."""

    @property
    def value(self) -> T_co:
        """The value carried; on a worker it is fetched at the first use."""
        ...


def broadcast(context: SparkContext, value: T) -> Broadcast[T]:
    """The value as a Spark broadcast, also where Spark encrypts what it stores (spark.io.encryption.enabled).

    There PySpark 4.1.4 writes through a stream that takes bytes alone, and large NumPy arrays are not handed on as
    bytes: `SparkContext.broadcast` ends with "object of type 'pickle.PickleBuffer' has no len()".
    """
    from pyspark import Broadcast

    class Carried(Broadcast[Any]):
        def dump(self, value: Any, f: Any) -> None:
            super().dump(value, AsBytes(f))  # type: ignore[arg-type]

    return Carried(context, value, context._pickled_broadcast_vars)


class AsBytes:
    """A stream for writing that hands on whatever holds bytes as something with a length and slices."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream

    def write(self, held: Any) -> None:
        """Write all of it."""
        self._stream.write(memoryview(held).cast("B"))

    def close(self) -> None:
        """Close the stream."""
        self._stream.close()
