"""Fixtures of the servers that several tests of clients share; each is started when the first of them asks."""

import pytest
import servers


@pytest.fixture(scope="session")
def postgres():
    with servers.postgres() as address:
        yield address


@pytest.fixture(scope="session")
def redis_server():
    with servers.redis() as address:
        yield address
