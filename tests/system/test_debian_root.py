"""Debian packages against Debian's own tools: dpkg-deb builds and unpacks them, apt resolves."""

import os
import subprocess
from pathlib import Path

import pytest

from ovenproof.bases import debian_fetch, debian_lock, debian_root, debian_sources
from ovenproof.bases.debian_spec import RootSpec
from ovenproof.core.digest import Content
from ovenproof.core.image_lock import LockedDeb
from ovenproof.store import stream
from ovenproof.store.store import Store


def unpacked(store: Store, debs: list[tuple[LockedDeb, Path]], spec: RootSpec, into: Path) -> Path:
    """The root file system, written out by GNU tar."""
    archive = into.with_suffix(".tar")
    with archive.open("wb") as out:
        for chunk in stream.read(debian_root.prepare(debs, spec, store)):
            out.write(chunk)
    into.mkdir()
    subprocess.run(["tar", "-C", into, "-xf", archive], check=True)
    return into


def contents(folder: Path) -> dict[str, bytes | str]:
    """Every file and link below a folder, by its path with /usr merged."""
    found: dict[str, bytes | str] = {}
    for path in folder.rglob("*"):
        name = str(path.relative_to(folder))
        name = f"usr/{name}" if name.startswith(("bin/", "lib/", "sbin/")) else name
        if path.is_symlink():
            found[name] = str(path.readlink())
        elif path.is_file():
            found[name] = path.read_bytes()
    return found


@pytest.mark.parametrize("compression", ["xz", "gzip", "none"])
def test_what_dpkg_deb_builds_comes_out_as_dpkg_deb_unpacks_it(
    tmp_path: Path, compression: str
) -> None:
    tree = tmp_path / "tree"
    for name, text in {
        "DEBIAN/control": "Package: s\nVersion: 1\nArchitecture: all\nMaintainer: a <a@b.c>\n"
        "Description: a sample\n",
        "bin/tool": "#!/bin/sh\n",
        "etc/" + "a-long-name-" * 15: "long",
        "usr/share/ümläut": "not ASCII",
        "usr/lib/empty": "",
    }.items():
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_text(text)
    (tree / "bin/tool").chmod(0o755)
    (tree / "bin/tool2").hardlink_to(tree / "bin/tool")
    (tree / "etc/link").symlink_to("../usr/share/" + "far-away-" * 20)
    path = tmp_path / "s.deb"
    build = ["dpkg-deb", f"-Z{compression}", "--root-owner-group", "-b", str(tree), str(path)]
    subprocess.run(build, check=True, capture_output=True)
    theirs = tmp_path / "theirs"
    subprocess.run(["dpkg-deb", "-x", str(path), str(theirs)], check=True)
    content = Content.of(path.read_bytes())
    deb = LockedDeb(name="s", version="1", archive="debian", path="pool/s.deb", content=content)

    ours = unpacked(Store(tmp_path / "store"), [(deb, path)], RootSpec(), tmp_path / "ours")

    left = contents(ours)
    assert contents(theirs).items() <= left.items()
    assert (ours / "usr/bin/tool").stat().st_mode & 0o7777 == 0o755
    assert (ours / "usr/bin/tool").samefile(ours / "usr/bin/tool2")
    assert sorted(left.keys() - contents(theirs).keys()) == [
        "bin",
        "etc/group",
        "etc/nsswitch.conf",
        "etc/passwd",
        "lib",
        "lib64",
        "sbin",
        "var/lib/dpkg/status.d/s",
        "var/lock",
        "var/run",
    ]


def test_a_shell_from_this_machine_s_mirrors_runs_in_its_own_root(tmp_path: Path) -> None:
    sources = debian_sources.machine_sources()
    if not sources:
        pytest.skip("apt's configuration names no Debian mirror")
    store = Store(tmp_path / "store")
    without = ("awk", "debconf", "dpkg", "install-info", "usr-is-merged")
    debs = debian_lock.resolve(
        suite="bookworm", packages=["base-files", "dash"], without=without, sources=sources
    )
    debian_fetch.fetch(debs, store, mirrors=debian_sources.mirrors(sources))

    assert {"base-files", "dash", "libc6"} <= {deb.name for deb in debs}
    assert not {deb.name for deb in debs} & set(without)
    local = [(deb, store.path(deb.content)) for deb in debs]
    root = unpacked(store, local, RootSpec(), tmp_path / "root")
    become_root = [] if os.geteuid() == 0 else ["unshare", "--map-root-user"]
    script = ". /etc/os-release; echo $VERSION_CODENAME"
    said = subprocess.run(
        [*become_root, "chroot", str(root), "/bin/sh", "-c", script],
        check=True,
        capture_output=True,
        text=True,
    )
    assert said.stdout == "bookworm\n"
