"""What a start must not wait for."""

import subprocess
import sys


def test_serving_with_sqlite_imports_neither_the_postgresql_driver_nor_the_engine() -> None:
    modules = ("beamtime_ioc.app", "beamtime_ioc.faces.ca", "beamtime_ioc.faces.pva")
    found = subprocess.run(
        [sys.executable, "-c", f"import sys, {', '.join(modules)}; print('\\n'.join(sys.modules))"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    assert set(modules) <= set(found)
    assert not {"psycopg", "dbos", "sqlalchemy.dialects.postgresql"} & set(found)
