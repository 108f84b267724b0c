"""Packages laid over each other: the root file system, and what must not get into it."""

import os
import tarfile
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import TypeAlias

import pytest

from ovenproof.bases.debian_root import prepare
from ovenproof.bases.debian_spec import ROOT, Group, RootSpec, User, layer_parameters
from ovenproof.core.action import Action
from ovenproof.core.digest import Content
from ovenproof.core.image_lock import LockedDeb
from ovenproof.errors import BadFile, Several, WrongBytes
from ovenproof.store import stream
from ovenproof.store.store import Store

Locked: TypeAlias = tuple[LockedDeb, Path]
MakeDeb: TypeAlias = Callable[..., Locked]


def layer(store: Store, *debs: Locked, spec: RootSpec | None = None) -> tarfile.TarFile:
    """The layer, read by another tar reader."""
    prepared = prepare(debs, spec or RootSpec(), store)
    return tarfile.open(fileobj=BytesIO(b"".join(stream.read(prepared))))


def text(archive: tarfile.TarFile, path: str) -> str:
    body = archive.extractfile(path)
    assert body is not None
    return body.read().decode()


def test_usr_is_merged(make_deb: MakeDeb, store: Store) -> None:
    root = layer(
        store,
        make_deb(
            [
                ("dir", "./"),
                ("dir", "./bin/", "", 0o755),
                ("file", "./bin/tool", "tool", 0o755),
                ("file", "./lib64/ld.so", "loader", 0o755),
                ("symlink", "./sbin/other", "../bin/tool"),
                ("file", "./usr/lib/library", "library"),
                ("file", "./binary", "not in /bin"),
            ]
        ),
    )

    assert text(root, "usr/bin/tool") == "tool"
    assert text(root, "usr/lib64/ld.so") == "loader"
    assert text(root, "usr/lib/library") == "library"
    assert text(root, "binary") == "not in /bin"
    assert root.getmember("usr/sbin/other").linkname == "../bin/tool"
    for name in ("bin", "lib", "lib64", "sbin"):
        assert root.getmember(name).linkname == f"usr/{name}"
        assert root.getmember(f"usr/{name}").isdir()


def test_a_package_that_ships_the_merged_links_itself_is_welcome(
    make_deb: MakeDeb, store: Store
) -> None:
    root = layer(
        store, make_deb([("symlink", "./bin", "usr/bin"), ("file", "./usr/bin/x", "x", 0o755)])
    )

    assert root.getmember("bin").linkname == "usr/bin"


def test_modes_are_two_and_setuid_is_none_of_them(make_deb: MakeDeb, store: Store) -> None:
    deb = make_deb(
        [
            ("file", "./usr/bin/su", "su", 0o4755),
            ("file", "./usr/bin/mount", "mount", 0o4755),
            ("file", "./usr/bin/wall", "wall", 0o2755),
            ("file", "./etc/secret", "s", 0o600),
            ("file", "./usr/bin/private", "p", 0o700),
            ("dir", "./root/", "", 0o700),
        ]
    )
    root = layer(store, deb)

    modes = {member.name: member.mode for member in root}
    assert modes["usr/bin/su"] == 0o755
    assert modes["usr/bin/mount"] == 0o755
    assert modes["usr/bin/wall"] == 0o755
    assert modes["etc/secret"] == 0o644
    assert modes["usr/bin/private"] == 0o755
    assert modes["root"] == 0o755
    assert modes["tmp"] == 0o1777


def test_a_directory_has_the_mode_that_the_spec_gives_it(make_deb: MakeDeb, store: Store) -> None:
    spec = RootSpec(directories={"tmp": 0o1777, "var/data": 0o775})
    root = layer(store, make_deb([("dir", "./tmp/"), ("dir", "./var/data/")]), spec=spec)

    assert root.getmember("tmp").mode == 0o1777
    assert root.getmember("var/data").mode == 0o775
    assert root.getmember("var").mode == 0o755


def test_users_groups_and_links_are_written(make_deb: MakeDeb, store: Store) -> None:
    spec = RootSpec(
        users=(ROOT, User(name="vllm", uid=2000, gid=0, home="/home/vllm")),
        groups=(Group(name="root", gid=0),),
        links={"usr/bin/python3": "python3.11"},
    )
    root = layer(store, make_deb([("file", "./usr/bin/python3.11", "x", 0o755)]), spec=spec)

    assert text(root, "etc/passwd") == (
        "root:x:0:0:root:/root:/bin/bash\nvllm:x:2000:0:vllm:/home/vllm:/usr/sbin/nologin\n"
    )
    assert text(root, "etc/group") == "root:x:0:\n"
    assert "hosts:     files dns\n" in text(root, "etc/nsswitch.conf")
    assert root.getmember("usr/bin/python3").linkname == "python3.11"
    assert root.getmember("var/run").linkname == "/run"


def test_a_user_cannot_smuggle_in_a_second_line() -> None:
    with pytest.raises(ValueError, match="colon-separated"):
        User(name="x:0:0\nroot2", uid=1, gid=1)


def test_documentation_is_dropped_and_licences_are_kept(make_deb: MakeDeb, store: Store) -> None:
    root = layer(
        store,
        make_deb(
            [
                ("dir", "./usr/share/man/man1/"),
                ("file", "./usr/share/man/man1/x.1.gz", "man"),
                ("file", "./usr/share/doc/sample/README", "read me"),
                ("file", "./usr/share/doc/sample/copyright", "free"),
                ("symlink", "./usr/share/doc/sample-data", "sample"),
                ("file", "./usr/lib/python3.11/__pycache__/os.pyc", "code"),
            ]
        ),
    )

    names = set(root.getnames())
    assert "usr/share/doc/sample/copyright" in names
    assert "usr/share/doc/sample-data" in names
    assert not {name for name in names if "man" in name or "README" in name or "pyc" in name}


def test_certificates_are_bundled_in_the_order_of_their_paths(
    make_deb: MakeDeb, store: Store
) -> None:
    folder = "./usr/share/ca-certificates/mozilla"
    root = layer(
        store,
        make_deb([("file", f"{folder}/b.crt", "B\n"), ("file", f"{folder}/A.crt", "A")]),
    )

    assert text(root, "etc/ssl/certs/ca-certificates.crt") == "A\nB\n"


def test_scanners_are_told_what_is_installed(make_deb: MakeDeb, store: Store) -> None:
    root = layer(store, make_deb([("file", "./x", "x")], name="libfoo1"))

    status = "var/lib/dpkg/status.d/libfoo1"
    assert text(root, status) == "Package: libfoo1\nVersion: 1.0\n"
    assert text(root, f"{status}.md5sums").endswith("usr/share/empty\n")
    assert not [name for name in root.getnames() if "postinst" in name]


def test_hard_links_stay_links_to_the_first_name_that_is_left(
    make_deb: MakeDeb, store: Store
) -> None:
    deb = make_deb(
        [
            ("file", "./usr/share/man/original", "same", 0o755),
            ("hardlink", "./bin/zcat", "./usr/share/man/original"),
            ("hardlink", "./bin/gunzip", "./bin/zcat"),
        ]
    )
    root = layer(store, deb)

    assert root.getmember("usr/bin/gunzip").isreg()
    assert root.getmember("usr/bin/gunzip").mode == 0o755
    assert root.getmember("usr/bin/zcat").linkname == "usr/bin/gunzip"
    assert text(root, "usr/bin/zcat") == "same"


@pytest.mark.parametrize(
    "members",
    [
        pytest.param([("file", "../etc/x", "x")], id="above the root"),
        pytest.param([("file", "./usr/../../etc/x", "x")], id="above the root, in the middle"),
        pytest.param([("file", "/etc/x", "x")], id="absolute"),
        pytest.param([("file", "./a//b", "x")], id="an empty step"),
        pytest.param([("file", "./a", "1"), ("file", "./a", "2")], id="twice"),
        pytest.param([("file", "./a", "1"), ("file", "./a", "1")], id="twice the same"),
        pytest.param([("file", "./bin/a", "1"), ("file", "./usr/bin/a", "2")], id="twice, merged"),
        pytest.param([("dir", "./a"), ("symlink", "./a", "b")], id="a directory and a link"),
        pytest.param([("symlink", "./a", "/etc"), ("file", "./a/b", "x")], id="through a link"),
        pytest.param([("file", "./a/b", "x"), ("symlink", "./a", "/etc")], id="a link, later"),
        pytest.param([("file", "./a", "x"), ("file", "./a/b", "x")], id="below a file"),
        pytest.param([("symlink", "./a/b", "../../x")], id="a link out of the root"),
        pytest.param([("symlink", "./a", "/../x")], id="an absolute link out of the root"),
        pytest.param([("symlink", "./a", "b/../../x/y")], id="a link out and in again"),
        pytest.param([("symlink", "./a", "")], id="a link to nothing"),
        pytest.param([("symlink", "./bin", "/etc")], id="the merged folder as another link"),
        pytest.param([("file", "./lib", "x")], id="the merged folder as a file"),
        pytest.param([("hardlink", "./a", "./b")], id="a hard link to nothing"),
        pytest.param([("hardlink", "./a", "../b")], id="a hard link out of the root"),
        pytest.param([("hardlink", "./a", "./b"), ("file", "./b", "x")], id="a hard link forward"),
        pytest.param([("symlink", "./b", "c"), ("hardlink", "./a", "./b")], id="hard link to link"),
        pytest.param([("fifo", "./a")], id="a fifo"),
        pytest.param([("device", "./dev/null")], id="a character device"),
        pytest.param([("block", "./dev/sda")], id="a block device"),
    ],
)
def test_an_unsafe_package_is_refused(
    make_deb: MakeDeb, store: Store, members: list[tuple[str, str, str]]
) -> None:
    deb = make_deb(members, name="evil")

    with pytest.raises(WrongBytes, match="not what it should be: `evil`"):
        prepare([deb], RootSpec(), store)


@pytest.mark.parametrize("target", ["../x", "/usr/share/x", "./../y/../x", "x", ".."])
def test_a_link_inside_the_root_is_kept_as_it_is(
    make_deb: MakeDeb, store: Store, target: str
) -> None:
    root = layer(store, make_deb([("symlink", "./etc/a", target)]))

    assert root.getmember("etc/a").linkname == target


def test_a_name_that_is_no_utf8_is_refused(make_deb: MakeDeb, store: Store) -> None:
    good, path = make_deb([("file", "./caf_", "x")], suffix="")
    data = path.read_bytes().replace(b"./caf_", b"./caf\xe9")
    path.write_bytes(data)
    deb = LockedDeb(
        name=good.name, version="1", archive="debian", path="p", content=Content.of(data)
    )

    with pytest.raises(WrongBytes, match="`sample`"):
        prepare([(deb, path)], RootSpec(), store)


def damaged(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 0xFF]) + data[at + 1 :]


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda tar: damaged(tar, 0), id="the first header"),
        pytest.param(lambda tar: damaged(tar, 1024), id="a later header"),
        pytest.param(lambda tar: tar[:1024], id="no end"),
        pytest.param(lambda tar: tar[:1600], id="a header without its bytes"),
        pytest.param(lambda tar: tar[:1300], id="in the middle of a header"),
        pytest.param(lambda tar: b"", id="nothing"),
    ],
)
def test_a_damaged_tar_is_refused(
    make_deb: MakeDeb, store: Store, damage: Callable[[bytes], bytes]
) -> None:
    whole = BytesIO()
    with tarfile.open(fileobj=whole, mode="w") as archive:
        for name in ("./a", "./b"):
            info = tarfile.TarInfo(name)
            info.size = 300
            archive.addfile(info, BytesIO(b"x" * 300))
    deb = make_deb([], data=damage(whole.getvalue()))

    with pytest.raises(WrongBytes, match="`sample`"):
        prepare([deb], RootSpec(), store)


def test_two_packages_may_ship_the_same_file(make_deb: MakeDeb, store: Store) -> None:
    root = layer(
        store,
        make_deb([("file", "./etc/x", "same"), ("dir", "./d/")], name="one"),
        make_deb([("file", "./etc/x", "same"), ("dir", "./d/")], name="two"),
    )

    assert text(root, "etc/x") == "same"


@pytest.mark.parametrize(
    "other",
    [("file", "./etc/x", "other"), ("file", "./etc/x", "one", 0o755), ("symlink", "./etc/x", "y")],
)
def test_two_packages_that_disagree_are_both_named(
    make_deb: MakeDeb, store: Store, other: tuple[str, str, str]
) -> None:
    debs = [make_deb([("file", "./etc/x", "one")], name="one"), make_deb([other], name="two")]

    with pytest.raises(BadFile, match=r"one and two do not go together: `/etc/x`"):
        prepare(debs, RootSpec(), store)


def test_a_path_through_another_package_s_link_is_refused(make_deb: MakeDeb, store: Store) -> None:
    debs = [
        make_deb([("symlink", "./opt/a", "/etc")], name="one"),
        make_deb([("file", "./opt/a/passwd", "x")], name="two"),
    ]

    with pytest.raises(BadFile, match="two and one do not go together"):
        prepare(debs, RootSpec(), store)


def test_a_package_that_has_what_the_flavour_writes_is_named(
    make_deb: MakeDeb, store: Store
) -> None:
    debs = [make_deb([("file", "./etc/passwd", "x"), ("file", "./etc/group", "x")])]

    with pytest.raises(Several) as caught:
        prepare(debs, RootSpec(), store)
    assert [fault.subject for fault in caught.value.faults if isinstance(fault, BadFile)] == [
        "/etc/passwd",
        "/etc/group",
    ]


def test_any_slice_of_the_layer_equals_the_slice_of_the_whole(
    make_deb: MakeDeb, store: Store
) -> None:
    deb = make_deb([("file", "./a", "a" * 700), ("file", "./b", "b" * 20), ("file", "./c", "")])
    prepared = prepare([deb], RootSpec(), store)
    whole = b"".join(stream.read(prepared))

    assert stream.measure(prepared).size == len(whole) == prepared.recipe.size
    for offset in range(0, len(whole), 97):
        assert b"".join(stream.read(prepared, offset)) == whole[offset:]


def test_a_file_opened_by_its_digest_ends_where_it_ends(make_deb: MakeDeb, store: Store) -> None:
    prepared = prepare(
        [make_deb([("file", "./a", "only this"), ("file", "./b", "not")])], RootSpec(), store
    )

    with prepared.shelf.open(Content.of(b"only this"), 5) as opened:
        assert opened.read() == b"this"


def test_the_bytes_depend_on_neither_order_nor_umask(make_deb: MakeDeb, tmp_path: Path) -> None:
    # Both have `b`: the one as another name of `a`.
    one = make_deb([("file", "./a", "a", 0o755), ("hardlink", "./b", "./a")], name="one")
    two = make_deb([("file", "./b", "a", 0o755), ("dir", "./d/", "", 0o700)], name="two")

    before = os.umask(0o077)
    try:
        first = stream.measure(prepare([one, two], RootSpec(), Store(tmp_path / "x")))
    finally:
        os.umask(before)
    second = stream.measure(prepare([two, one], RootSpec(), Store(tmp_path / "another")))

    assert first == second


def test_the_key_changes_with_each_field_of_the_spec() -> None:
    specs = [
        RootSpec(),
        RootSpec(users=(ROOT,)),
        RootSpec(groups=()),
        RootSpec(directories={}),
        RootSpec(links={"x": "y"}),
        RootSpec(drop=()),
        RootSpec(keep=()),
    ]

    keys = {Action(kind="k", version=1, parameters=layer_parameters(spec)).key for spec in specs}

    assert len(keys) == len(specs)


def test_the_key_does_not_depend_on_the_order_of_patterns() -> None:
    one = layer_parameters(RootSpec(drop=("a", "b"), links={"x": "1", "y": "2"}))
    two = layer_parameters(RootSpec(drop=("b", "a"), links={"y": "2", "x": "1"}))

    assert one == two
