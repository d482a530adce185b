"""Which store the configuration chooses."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from orthanc_async._durable.choose import choose, url_of
from orthanc_async._durable.store import StoreError
from psycopg.conninfo import conninfo_to_dict

FOLDER = Path("/etc")


def described(setting: str, configuration: dict[str, Any]) -> str:
    return choose(setting, configuration, FOLDER).description


def test_folders() -> None:
    """A folder is a setting's, or that of Orthanc's storage; relative ones lie in the folder."""
    name = "orthanc-async.db"
    assert described("", {}) == f"/etc/OrthancStorage/{name}"
    assert described("", {"StorageDirectory": "/var/s"}) == f"/var/s/{name}"
    assert described("state", {"StorageDirectory": "/var/s"}) == f"/etc/state/{name}"
    section = {"EnableIndex": False, "Host": "db"}
    assert described("/x", {"PostgreSQL": section | {"EnableIndex": True}}) == f"/x/{name}"
    assert described("", {"PostgreSQL": section}) == f"/etc/OrthancStorage/{name}"


def test_relative_storage(tmp_path: Path) -> None:
    """A relative StorageDirectory lies where Orthanc has it: beside its configuration."""
    (tmp_path / "orthanc.json").touch()
    for path in (tmp_path, tmp_path / "orthanc.json"):
        store = choose("", {"StorageDirectory": "s"}, FOLDER, path)
        assert store.description == f"{tmp_path}/s/orthanc-async.db"
        assert choose("s", {}, FOLDER, path).description == "/etc/s/orthanc-async.db"


def test_urls() -> None:
    """A URL is a setting's, or that of the database that holds Orthanc's index."""
    url = "postgresql://me:geheim@db:7777/images"
    shown = "postgresql://me@db:7777/images (schema orthanc_async)"
    assert described(url, {"PostgreSQL": {"EnableIndex": True, "Host": "other"}}) == shown
    assert described("", {"PostgreSQL": {"EnableIndex": True, "ConnectionUri": url}}) == shown
    section = {
        "EnableIndex": True,
        "Host": "db",
        "Port": 7777,
        "Username": "me",
        "Password": "geheim",
        "Database": "images",
    }
    assert described("", {"PostgreSQL": section}) == shown


def test_section() -> None:
    """Every value of the section arrives at libpq as it is, odd characters too."""
    odd = "a b'\\\"/@:%&=?#ü"
    section = {"Host": "/run/pg", "Database": odd, "Username": odd, "Password": odd}
    assert conninfo_to_dict(url_of(section | {"EnableSsl": True})) == {
        "host": "/run/pg",
        "port": "5432",
        "dbname": odd,
        "user": odd,
        "password": odd,
        "sslmode": "require",
    }
    assert conninfo_to_dict(url_of({})) == {
        "host": "localhost", "port": "5432", "sslmode": "disable",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("setting", "configuration", "words"),
    [
        ("mysql://me:geheim@db/x", {}, ['"Python.Store"', '"mysql://"']),
        ("postgresql+psycopg://me:geheim@db", {}, ['"Python.Store"', '"postgresql+psycopg://"']),
        ("postgresql://me:ge%zzheim@db/x", {}, ['"Python.Store"', "%XX"]),
        ("", {"StorageDirectory": 7}, ['"StorageDirectory" must be a string, not a number']),
        ("", {"PostgreSQL": True}, ['"PostgreSQL" must be an object, not a boolean']),
        ("", {"PostgreSQL": {"EnableIndex": "yes"}}, ['"PostgreSQL.EnableIndex"']),
        ("", {"PostgreSQL": {"EnableIndex": True, "Port": "geheim"}}, ['"PostgreSQL.Port"']),
        ("", {"PostgreSQL": {"EnableIndex": True, "Port": 0}}, ['"PostgreSQL.Port"', "65535"]),
        ("", {"PostgreSQL": {"EnableIndex": True, "Password": ["geheim"]}}, ["Password"]),
        ("", {"PostgreSQL": {"EnableIndex": True, "ConnectionUri": "x:geheim"}}, ["%XX"]),
    ],
)
def test_wrong(setting: str, configuration: dict[str, Any], words: list[str]) -> None:
    """What is wrong is an error that names the key, and never shows a password."""
    with pytest.raises(StoreError) as caught:
        choose(setting, configuration, FOLDER)
    for word in words:
        assert word in str(caught.value)
    assert "heim" not in f"{caught.value}{caught.value.__cause__}"


def test_without_psycopg() -> None:
    """SQLite needs no psycopg; PostgreSQL without it is an error that says how to get it."""
    code = """
import pathlib, sys
sys.modules["psycopg"] = None
from orthanc_async._durable.choose import choose
from orthanc_async._durable.store import StoreError
choose("", {}, pathlib.Path("/"))
try:
    choose("postgresql://db/x", {}, pathlib.Path("/"))
except StoreError as error:
    print(error)
"""
    output = subprocess.run(
        [sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True
    ).stdout
    assert "pip install 'psycopg[binary]'" in output
    assert '"Python.Store"' in output
