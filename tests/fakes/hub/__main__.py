"""Serves a folder tree `organisation/name/files` as a hub: for benches, and to look around."""

import argparse
import signal
from pathlib import Path

from tests.fakes.hub.fake import FakeHub


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.fakes.hub", description=__doc__)
    parser.add_argument("folder", type=Path, help="holds organisation/name/files")
    parser.add_argument("--port", type=int, default=0, help="any that is free, if not given")
    parser.add_argument("--no-cdn", action="store_true", help="give large files without a redirect")
    said = parser.parse_args()
    ends = {signal.SIGINT, signal.SIGTERM}
    signal.pthread_sigmask(signal.SIG_BLOCK, ends)  # before there are threads, which inherit it
    with FakeHub(port=said.port, redirect_to_cdn=not said.no_cdn) as hub:
        serve(hub, said.folder)
        print(hub.endpoint, flush=True)  # noqa: T201
        signal.sigwait(ends)


def serve(hub: FakeHub, folder: Path) -> None:
    """Make each `organisation/name` of a folder a repository, its files the commit of main.

    Files that are changed later are served as they are, under the names they had.
    """
    for place in sorted(path for path in folder.glob("*/*") if path.is_dir()):
        files = {
            path.relative_to(place).as_posix(): path
            for path in sorted(place.rglob("*"))
            if path.is_file() and ".git" not in path.relative_to(place).parts
        }
        hub.repository(place.relative_to(folder).as_posix()).commit(dict(files))


if __name__ == "__main__":
    main()
