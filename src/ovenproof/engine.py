"""The Docker engine that is meant, found in one way by whoever needs one."""

from collections.abc import Mapping

import requests
import urllib3.exceptions
from docker.client import DockerClient
from docker.errors import DockerException, StreamParseError

from ovenproof.errors import MissingTool, TryAgain

PATIENCE_S = 10
FAULTS = (
    DockerException,
    StreamParseError,
    requests.RequestException,
    urllib3.exceptions.HTTPError,
    OSError,
)
"""Everything that docker-py raises where an engine does not do as asked."""


def connect(environment: Mapping[str, str], *, patience_s: float = PATIENCE_S) -> DockerClient:
    """The engine that DOCKER_HOST and its companions name, or the local one. Raises MissingTool.

    It has to answer in time once; after that it may take as long as a big image takes. Without
    DOCKER_HOST the current context of Docker's own program counts where docker-py reads it, from
    7.2 on; an older one knows only the local socket.
    """
    try:
        client: DockerClient = DockerClient.from_env(
            environment=dict(environment), timeout=patience_s
        )
        client.ping()
    except (*FAULTS, ValueError) as error:
        raise MissingTool(
            "no Docker engine answers",
            subject=environment.get("DOCKER_HOST")
            or environment.get("DOCKER_CONTEXT")
            or "the default socket",
            got=str(error).split("\n")[0],
            hint="start Docker, set DOCKER_HOST, or write a layout: --output layout:dist",
        ) from error
    client.api.timeout = None
    return client


def version_of(client: DockerClient) -> str:
    """The engine's version. Raises TryAgain."""
    try:
        return str(client.version()["Version"])
    except (*FAULTS, LookupError, TypeError) as error:
        raise TryAgain(
            "the Docker engine did not say its version", got=error, hint="ask it: docker version"
        ) from error
