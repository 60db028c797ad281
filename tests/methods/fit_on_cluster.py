"""A job of the tests: tastes learnt by each way in which factors travel between processes, written as one array.

`bin/spark-submit --master local-cluster[2,1,1024] tests/methods/fit_on_cluster.py --env local <rows.json> <found.npy>`
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import numpy as np
from pyspark.sql import SparkSession

from rekindle.methods import als_packing, spark_als

if __name__ == "__main__":
    asked = json.loads(Path(sys.argv[-2]).read_text(encoding="utf-8"))
    als_packing.BLOCK_ENTRIES = asked["block_entries"]
    spark = SparkSession.builder.getOrCreate()
    frame = spark.createDataFrame([tuple(row) for row in asked["rows"]], "user int, item int, strength float")
    workers = set(spark.sparkContext.parallelize(range(4), 4).map(lambda _: os.getppid()).collect())
    assert len(workers) == 2, f"{len(workers)} executors, expected 2"
    found = [
        spark_als.fit_item_factors(frame, driver_entries=0, broadcast_bytes=most, **asked["settings"])
        for most in (spark_als.BROADCAST_BYTES, 0)
    ]
    np.save(sys.argv[-1], np.stack(found))
    spark.stop()
