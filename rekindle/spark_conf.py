"""The arguments of spark-submit for an environment, one a line: what `bin/spark-submit` puts before a job.

It imports no Spark: this runs before every submit.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

from rekindle import settings

CATALOG = "lake"

# What must hold wherever the code runs; reliability measurements behind each are in docs/decisions/.
REQUIRED = {
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.ansi.enabled": "true",
    # Without both, a killed executor lost 7 to 12 % of the rows of a write with the count unchanged.
    "spark.sql.shuffle.orderIndependentChecksum.enabled": "true",
    "spark.sql.shuffle.orderIndependentChecksum.enableFullRetryOnMismatch": "true",
    "spark.speculation": "false",
    "spark.sql.files.ignoreCorruptFiles": "false",
    "spark.sql.files.ignoreMissingFiles": "false",
    "spark.sql.extensions": "org.apache.iceberg.spark.extensions.IcebergSparkSessionExtensions",
    f"spark.sql.catalog.{CATALOG}": "org.apache.iceberg.spark.SparkCatalog",
    f"spark.sql.catalog.{CATALOG}.type": "jdbc",
    f"spark.sql.catalog.{CATALOG}.jdbc.schema-version": "V1",
    "spark.sql.execution.arrow.pyspark.enabled": "true",
    "spark.ui.showConsoleProgress": "false",
    "spark.eventLog.enabled": "false",
    "spark.log.level": "WARN",
}
DEFAULTS = {
    "spark.ui.enabled": "false",
    # A night groups by user and collects small sets; beyond 128 groups a task Spark would sort instead of hashing.
    "spark.sql.objectHashAggregate.sortBased.fallbackThreshold": "100000",
    # The JVM compiles no method of more than 8,000 bytes; Spark, left alone, writes the rules of a mapping into one.
    # Interpreted they cost 16 microseconds a line, split into several methods 5.
    "spark.sql.codegen.hugeMethodLimit": "8000",
    # Looking for a better encoding of what is kept for minutes took 4 microseconds a line and saved 6 % of its size.
    "spark.sql.inMemoryColumnarStorage.compressed": "false",
}

AUTHENTICATE = "spark.authenticate"
# Keys whose values are secrets: what is told to spark-submit can be read by whoever may list processes.
SECRETS = re.compile(r"(secret|password|passwd|token|(secret|access)[._-]?key)$", re.IGNORECASE)


def jars(home: Path) -> list[Path]:
    """The lake's jars, as `rekindle.jars` fetched them."""
    return sorted((home / "jars").glob("*.jar"))


def class_archive(home: Path) -> Path:
    """The JVM's archive of loaded classes, as `make setup` made it for this machine's Java and jars."""
    return home / "jars" / "classes.jsa"


def driver_options(environment: settings.Environment, home: Path) -> dict[str, str]:
    """What starts a driver in the submitting process sooner.

    Of a night's eight drivers each loaded 15,000 classes for seconds of work: with the archive a scoring job took 13 s
    of processor time instead of 23 s. Archived are classes of the class path only, so the lake's jars are on it.
    """
    if environment.spark.deploy_mode != "client":
        return {}
    options = [environment.spark.conf.get("spark.driver.extraJavaOptions", "")]
    if class_archive(home).exists():
        options.append(f"-XX:SharedArchiveFile={class_archive(home)}")
    return {
        "spark.driver.extraClassPath": ":".join(str(j) for j in jars(home)),
        "spark.driver.extraJavaOptions": " ".join(o for o in options if o),
    }


def conf(environment: settings.Environment, root: Path = settings.ROOT) -> dict[str, str]:
    """Every Spark setting of the environment. Secrets are not among them: the session reads them from files.

    Raises:
        SettingsError: the environment sets speculation, undoes what must hold, holds a secret, or has processes of a
            standalone cluster authenticate each other by a secret that it does not name.
    """
    undone = sorted(k for k, v in environment.spark.conf.items() if REQUIRED.get(k, v) != v)
    if undone:
        raise settings.SettingsError(
            f"conf/environments/{environment.name}.yaml: spark.conf may not change {', '.join(undone)};"
            f" required: {', '.join(f'{k}={REQUIRED[k]}' for k in undone)}"
        )
    where, told = f"conf/environments/{environment.name}.yaml", environment.spark.conf
    secrets = sorted(key for key in told if SECRETS.search(key))
    if secrets:
        raise settings.SettingsError(
            f"{where}: spark.conf holds {', '.join(secrets)}, which every user of the machine could read among the"
            " arguments; expected secrets in files, spark.secret_file and lake.password_file"
        )
    is_standalone = environment.spark.master.startswith("spark://")
    if is_standalone and told.get(AUTHENTICATE) == "true" and environment.spark.secret_file is None:
        raise settings.SettingsError(
            f"{where}: {AUTHENTICATE} is true and spark.secret_file is missing; a standalone master makes no secret:"
            " name the file (mode 600) that holds the one its master and workers were started with"
        )
    lake = {
        f"spark.sql.catalog.{CATALOG}.uri": environment.lake.catalog_uri,
        f"spark.sql.catalog.{CATALOG}.warehouse": environment.lake.warehouse,
        "spark.executorEnv.PYTHONPATH": str(root),
    }
    if environment.lake.user:
        lake[f"spark.sql.catalog.{CATALOG}.jdbc.user"] = environment.lake.user
    return DEFAULTS | environment.spark.conf | driver_options(environment, settings.home()) | lake | REQUIRED


def secret(path: Path) -> str:
    """The text of a secret's file.

    Raises:
        SettingsError: no such file, an empty one, or one that others may read.
    """
    try:
        mode, text = path.stat().st_mode & 0o777, path.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise settings.SettingsError(f"secret {path} cannot be read: {error.strerror}") from None
    if not text or mode & 0o077:
        raise settings.SettingsError(
            f"secret {path}: {len(text)} characters, mode {mode:o}; expected a text that only its owner may read:"
            " restore it from your vault, or run chmod 600 on it"
        )
    return text


def arguments(environment: settings.Environment) -> list[str]:
    """The arguments, in order."""
    found = ["--master", environment.spark.master, "--deploy-mode", environment.spark.deploy_mode]
    found += ["--jars", ",".join(str(j) for j in jars(settings.home()))]
    for key, value in sorted(conf(environment).items()):
        found += ["--conf", f"{key}={value}"]
    return found


if __name__ == "__main__":
    try:
        sys.stdout.write("\n".join(arguments(settings.load_environment(sys.argv[1]))) + "\n")
    except settings.SettingsError as error:
        sys.exit(f"{error}")
