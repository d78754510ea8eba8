"""Desks over both databases."""

from __future__ import annotations

import itertools

import psycopg
import pytest
from support import postgres
from support.desk import make_authority, open_desk

from gateway.pki import pkcs8

QUICK_SCRYPT_COST = 2**4
_numbers = itertools.count(1)


@pytest.fixture(autouse=True)
def _quick_keys(request, monkeypatch):
    """Keys are stretched for a moment only, except where that is what is looked at."""
    if request.module.__name__ != "test_pki_keys":
        monkeypatch.setattr(pkcs8, "SCRYPT_COST", QUICK_SCRYPT_COST)


@pytest.fixture(scope="session")
def postgres_url():
    with postgres.cluster() as url:
        yield url


@pytest.fixture(params=["sqlite", "postgresql"])
def registry_url(request, tmp_path):
    """A fresh registry's URL, in each database."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/pki/registry.db"
        return
    template = request.getfixturevalue("postgres_url")
    name = f"registry_{next(_numbers)}"
    with psycopg.connect(template.format(database="postgres").replace("+psycopg", ""), autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
        yield template.format(database=name)
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def desk(tmp_path, registry_url):
    """A desk, once over each database."""
    desk = open_desk(tmp_path, registry_url)
    yield desk
    desk.registry.close()


@pytest.fixture
def corp(desk):
    """An authority without constraints."""
    return make_authority(desk, organization="Example Ltd")
