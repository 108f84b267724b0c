"""What the system suite needs of a machine: programs from apt, and a Docker engine."""

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from ovenproof.engine import connect
from ovenproof.errors import MissingTool
from ovenproof.tasks.shell import say

PACKAGES: Mapping[str, str] = {
    "dockerd": "docker.io",
    "docker-registry": "docker-registry",
    "htpasswd": "apache2-utils",
    "iptables": "iptables",
    "nginx": "nginx",
    "openssl": "openssl",
    "skopeo": "skopeo",
    "umoci": "umoci",
}
"""Program -> the Debian package that has it."""
SUITES = "OVENPROOF_SUITES"
"""Tells the tests that the system suite runs: what is missing then is a failure, not a skip."""
START_S = 60


@contextmanager
def ready() -> Iterator[dict[str, str]]:
    """The environment for the system suite, with everything in place. Raises MissingTool."""
    install()
    with engine() as environment:
        yield {**environment, SUITES: "system"}


def install(packages: Mapping[str, str] = PACKAGES) -> None:
    """Install the programs that are missing, through apt. Needs root only if any are."""
    path = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
    missing = [package for name, package in packages.items() if not shutil.which(name, path=path)]
    if not missing:
        return
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        raise MissingTool(
            "the suite needs programs that are not here",
            subject=" ".join(missing),
            got="no apt-get" if os.geteuid() == 0 else "not root, so nothing can be installed",
            hint=f"as root: apt-get install {' '.join(missing)}",
        )
    say(f"installing {' '.join(missing)} …")
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for command in (
        ["apt-get", "update", "-qq"],
        ["apt-get", "install", "-qq", "-y", "--no-install-recommends", *missing],
    ):
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        if done.returncode:
            raise MissingTool(
                "apt could not install what the suite needs",
                subject=" ".join(command),
                got=(done.stderr.strip() or done.stdout.strip())[-800:],
            )


@contextmanager
def engine() -> Iterator[dict[str, str]]:
    """The engine that answers; where none does, one of our own, stopped and removed afterwards."""
    try:
        connect(os.environ).close()
    except MissingTool as error:
        if os.environ.get("DOCKER_HOST"):
            raise
        reason = error
    else:
        yield {}
        return
    if os.geteuid() != 0:
        raise reason
    with tempfile.TemporaryDirectory(prefix="ovenproof-engine-", dir="/var/tmp") as name:
        folder = Path(name)
        environment = {"DOCKER_HOST": f"unix://{folder}/docker.sock"}
        with (folder / "dockerd.log").open("wb") as log:
            process = _start(folder, environment["DOCKER_HOST"], log.fileno())
        try:
            _wait(process, environment, folder / "dockerd.log")
            say("started a Docker engine for the suite")
            yield environment
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(START_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _start(folder: Path, host: str, log: int) -> subprocess.Popen[bytes]:
    path = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
    return subprocess.Popen(
        [
            shutil.which("dockerd", path=path) or "dockerd",
            f"--host={host}",
            f"--data-root={folder}/data",
            f"--exec-root={folder}/exec",
            f"--pidfile={folder}/dockerd.pid",
        ],
        env={**os.environ, "PATH": path},
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        start_new_session=True,
    )


def _wait(process: subprocess.Popen[bytes], environment: Mapping[str, str], log: Path) -> None:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline and process.poll() is None:
        try:
            connect(environment).close()
        except MissingTool:
            time.sleep(0.5)
        else:
            return
    raise MissingTool(
        "the Docker engine for the suite did not start",
        got=log.read_text(errors="replace")[-800:],
        hint="start an engine yourself, or run the suite where one runs",
    )
