"""Lets aiokafka's own tests run on a broker that is there already: a plugin that stands in for their containers.

    BROKER=HOST:PORT pytest -p external --docker-image kafka:4.3.1 tests
"""

import os
from types import SimpleNamespace
from unittest.mock import MagicMock

import pytest

host, port = os.environ["BROKER"].split(":")
server = SimpleNamespace(host=host, port=int(port), hosts=[f"{host}:{port}"], ssl_port=0, sasl_plain_port=0,
                         sasl_ssl_port=0, container=None)
containers = {"kafka_server": server}
for name in ["docker", "kafka_image", "ssl_folder", "acl_manager", "kafka_config", "kerberos_utils"]:
    containers[name] = MagicMock()


@pytest.hookimpl(tryfirst=True)
def pytest_fixture_setup(fixturedef, request):
    """Answers for the fixtures that would start containers."""
    value = containers.get(fixturedef.argname)
    if value is not None:
        fixturedef.cached_result = (value, fixturedef.cache_key(request), None)
    return value
