"""Fetch the lake's jars once, by sha256, with the Ivy client that Spark carries."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tempfile
from pathlib import Path

from rekindle import settings

# (organisation, module, version, sha256)
JARS = (
    (
        "org.apache.iceberg",
        "iceberg-spark-runtime-4.1_2.13",
        "1.12.0",
        "3123c3798af642dd537230923548e013ef41cc28b6626e5225808cf5670a0f82",
    ),
    ("org.xerial", "sqlite-jdbc", "3.50.3.0", "a3f53a2aa15ae9425a9e793bbe9c8e5288febeb4b65ef5c1a4e80d4c2045cf08"),
    ("org.postgresql", "postgresql", "42.7.14", "73914527305a40cce504b0d3d90b23caf565136912d607ae8ae7c5895512332c"),
)


class JarError(Exception):
    """A jar could not be fetched, or is not the one that was pinned."""


def fetch(folder: Path) -> list[Path]:
    """The jars' paths in `folder`, fetched where absent.

    Raises:
        JarError: the registry did not answer, or the digest differs from the pin; nothing is left behind then.
    """
    import pyspark

    folder.mkdir(parents=True, exist_ok=True)
    (ivy,) = (Path(pyspark.__file__).parent / "jars").glob("ivy-*.jar")
    found = []
    for organisation, module, version, sha256 in JARS:
        target = folder / f"{module}-{version}.jar"
        found.append(target)
        if target.exists() and _digest(target) == sha256:
            continue
        with tempfile.TemporaryDirectory(dir=folder) as work:
            pattern = f"{work}/[artifact]-[revision].[ext]"
            asked = ["-dependency", organisation, module, version, "-notransitive", "-confs", "default"]
            command = ["java", "-jar", str(ivy), "-cache", f"{work}/cache", *asked, "-retrieve", pattern]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            got = Path(work) / target.name
            if done.returncode or not got.exists():
                tail = " ".join(done.stdout.splitlines()[-3:])
                raise JarError(f"{module} {version}: not fetched (is the Maven registry reachable?): {tail}")
            if _digest(got) != sha256:
                raise JarError(f"{module} {version}: sha256 is {_digest(got)}, pinned {sha256}; nothing was installed")
            got.replace(target)
    return found


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


if __name__ == "__main__":
    try:
        fetch(settings.home() / "jars")
    except JarError as error:
        sys.exit(f"{error}")
