"""Airflow with a small tree of jobs and a home of its own, for every test of the DAGs."""

import pytest

from tests.dags.small_airflow import REPOSITORY, Airflow


@pytest.fixture(scope="session")
def airflow(tmp_path_factory: pytest.TempPathFactory) -> Airflow:
    """Airflow with its own home and the small jobs, its database made."""
    small = Airflow(tmp_path_factory.mktemp("airflow"))
    done = small("python", REPOSITORY / "bin" / "services.py", "prepare")
    assert done.returncode == 0, done.stdout + done.stderr
    return small
