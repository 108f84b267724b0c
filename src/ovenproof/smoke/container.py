"""Starts an image in a container, waits for it with an eye on it, and removes it again."""

import http.client
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

from docker.client import DockerClient
from docker.errors import ImageNotFound
from docker.types.containers import DeviceRequest
from testcontainers.core.config import ConnectionMode, testcontainers_config
from testcontainers.core.container import DockerContainer

from ovenproof import errors
from ovenproof.engine import FAULTS, connect
from ovenproof.events import Finished, Listener, silent
from ovenproof.events import Started as Began
from ovenproof.smoke.http import Answer, Send, from_inside, through_port
from ovenproof.smoke.report import Subject

LABEL = "org.ovenproof.test"
LAST_LINES = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Conditions:
    """How a container is restricted. By default not at all."""

    arguments: tuple[str, ...] = ()
    environment: tuple[tuple[str, str], ...] = ()
    user: str | None = None
    read_only: bool = False
    tmpfs: tuple[str, ...] = field(default=())
    """`/tmp` or `/tmp:exec`, as for docker run."""
    network: bool = True


class Watched(Protocol):
    """A container, as far as one has to know it to wait for it."""

    def exit_code(self) -> int | None:
        """None while it runs."""

    def last_lines(self) -> str:
        """The end of what it printed."""


@dataclass(frozen=True, slots=True)
class Started:
    """A container that was started, and the way to talk to it."""

    container: DockerContainer
    send: Send

    def exit_code(self) -> int | None:
        self.container.reload()
        state = self.container.get_wrapped_container().attrs["State"]
        return None if state["Running"] else int(state["ExitCode"])

    def last_lines(self) -> str:
        output: bytes = self.container.get_wrapped_container().logs(tail=LAST_LINES)
        return output.decode(errors="replace").strip()


@contextmanager
def started(
    reference: str,
    subject: Subject,
    conditions: Conditions,
    environment: Mapping[str, str],
    listener: Listener = silent,
) -> Iterator[Started]:
    """A running container, removed in the end with its volumes, whatever happens.

    Raises MissingTool without a Docker engine, BadCall for an image that the engine does not have,
    ImageFailed where it cannot be started. An image is pulled only by its digest: a tag might bring
    another one than was built.
    """
    client = connect(environment)
    try:
        try:
            pull_missing(client, reference, listener)
            client.images.get(reference)
            container = _container(reference, subject, conditions, client, environment)
        except ImageNotFound as fault:
            raise errors.BadCall(
                "the Docker engine has no such image",
                subject=reference,
                hint="build it first, or name it by its digest: HOST/NAME@sha256:…",
            ) from fault
        except FAULTS as fault:
            raise errors.TryAgain(
                "the Docker engine did not answer as it should", got=fault
            ) from fault
        try:
            try:
                container.start()
                send = _send(container, subject, conditions)
            except FAULTS as fault:
                raise errors.ImageFailed(
                    "the container cannot be started", subject=reference, got=fault
                ) from fault
            yield Started(container, send)
        finally:
            container.stop()
    finally:
        client.close()


def wait(
    watched: Watched,
    send: Send,
    *,
    timeout_s: float,
    clock: Callable[[], float] = time.monotonic,
    pause: Callable[[float], None] = time.sleep,
) -> None:
    """Return when `/health` says 200. Raises ImageFailed as soon as the container is dead."""
    deadline = clock() + timeout_s
    while True:
        try:
            said = f"/health says {send('GET', '/health', None).status}"
        except (OSError, http.client.HTTPException) as fault:
            said = f"{fault}" or type(fault).__name__
        if said == "/health says 200":
            return
        code = watched.exit_code()
        if code is not None:
            raise errors.ImageFailed(
                f"the container ended with {code} before it was healthy",
                got="these last lines:\n" + watched.last_lines(),
            )
        if clock() >= deadline:
            raise errors.ImageFailed(
                f"the container is not healthy after {timeout_s:.0f} s",
                got=f"{said}, and these last lines:\n" + watched.last_lines(),
            )
        pause(0.5)


def pull_missing(client: DockerClient, reference: str, listener: Listener = silent) -> None:
    """Let the engine pull an image that is named by its digest, which the engine checks.

    One that it has is not asked for; one that is named by a tag has to be there.
    """
    if "@" not in reference:
        return
    try:
        client.images.get(reference)
        return
    except ImageNotFound:
        name = f"pull {reference}"
        listener(Began(name=name))
    repository, _, digest = reference.partition("@")
    try:
        answers = client.api.pull(repository, tag=digest, stream=True, decode=True)
        faults = [str(answer["error"]) for answer in answers if "error" in answer]
    except FAULTS as fault:
        faults = [str(fault)]
    if faults:
        raise errors.TryAgain(
            "the Docker engine could not pull the image",
            subject=reference,
            got=faults[0],
            hint=f"see what it says to you: docker pull {reference}",
        )
    listener(Finished(name=name))


def _container(
    reference: str,
    subject: Subject,
    conditions: Conditions,
    client: DockerClient,
    environment: Mapping[str, str],
) -> DockerContainer:
    # Ryuk, which would clean up after us, is one more image to pull.
    testcontainers_config.ryuk_disabled = True
    container = DockerContainer(reference, docker_client_kw={"environment": dict(environment)})
    # testcontainers has settings of its own for where to look; what is asked is what was built.
    own = container.get_docker_client()
    own.client.close()
    own.client = client
    settings: dict[str, Any] = {
        "labels": {LABEL: "1"},
        "shm_size": subject.shm_bytes,
        "read_only": conditions.read_only,
        "init": True,
    }
    if conditions.user is not None:
        settings["user"] = conditions.user
    if subject.needs_gpu:
        settings["device_requests"] = [DeviceRequest(count=-1, capabilities=[["gpu"]])]
    for mount in conditions.tmpfs:
        place, _, options = mount.partition(":")
        container.tmpfs[place] = options
    if conditions.network:
        ports: dict[str, Any] = container.ports
        ports[f"{subject.port}/tcp"] = ("127.0.0.1",) if _is_local(container) else None
    else:
        settings["network"] = "none"
    if conditions.arguments:
        container.with_command(list(conditions.arguments))
    container.with_envs(**dict(conditions.environment))
    # Once only: a second call would forget what the first one said.
    return container.with_kwargs(**settings)


def _is_local(container: DockerContainer) -> bool:
    """Is the engine on this machine, so that a port of its loopback is one of ours?"""
    return container.get_docker_client().host() in ("localhost", "127.0.0.1", "::1")


def _addresses(container: DockerContainer, port: int) -> list[tuple[str, int]]:
    """Where the port can be reached. testcontainers' own guess misses a port of the loopback."""
    client, identity = container.get_docker_client(), container.get_container_id()
    published = int(client.port(identity, port))
    if not _is_local(container):
        return [(client.host(), published)]
    if client.get_connection_mode() == ConnectionMode.docker_host:
        return [("127.0.0.1", published)]
    # We seem to be in a container ourselves: then the engine's loopback may be another than ours.
    return [("127.0.0.1", published), (client.bridge_ip(identity), port)]


def _send(container: DockerContainer, subject: Subject, conditions: Conditions) -> Send:
    def knock(method: str, path: str, body: bytes | None) -> Answer:
        # The port is looked up anew: a dead container has none, and that is for `wait` to say.
        return through_port(*_addresses(container, subject.port))(method, path, body)

    def execute(words: list[str]) -> tuple[int | None, bytes]:
        try:
            result = container.exec(words)
        except FAULTS as fault:  # dead, or not yet alive
            raise ConnectionError(str(fault)) from fault
        return result.exit_code, result.output

    if conditions.network:
        return knock
    return from_inside(execute, subject.port, python=subject.interpreter)
