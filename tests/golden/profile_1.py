"""A fixed set of recipes, and one image; run as a program it prints their digests as JSON.

Needs the standard library and the package's core alone, so that any Python can run it.
"""

import hashlib
import json
import sys

from ovenproof.core import tar
from ovenproof.core.action import Action
from ovenproof.core.content import Literal
from ovenproof.core.digest import Content, Digest
from ovenproof.core.image import Layer, Settings, assemble
from ovenproof.core.layer import Directory, Entry, File, Hardlink, Symlink, recipe

HELLO = Literal(b"hello\n")
TREE: tuple[Entry, ...] = (
    Directory(path="tmp", mode=0o1777),
    File(path="usr/bin/su", body=Literal(b"\x7fELF"), mode=0o4755),
    File(path="usr/bin/env", body=HELLO, mode=0o755),
    Hardlink(path="usr/bin/printenv", target="usr/bin/env", mode=0o755),
    Symlink(path="bin", target="usr/bin"),
    File(path="usr-local", body=Literal(b"")),
    File(path="模型/重量.txt", body=HELLO),
)
RECIPES: dict[str, tuple[Entry, ...]] = {
    "nothing": (),
    "a file": (File(path="etc/hostname", body=HELLO),),
    "an empty file": (File(path="empty", body=Literal(b"")),),
    "a file of one block": (File(path="block", body=Literal(bytes(range(256)) * 2)),),
    "a directory": (Directory(path="srv", mode=0o711), Directory(path="srv/data", mode=0o750)),
    "a symbolic link": (Symlink(path="lib", target="usr/lib"),),
    "a hard link": (File(path="a", body=HELLO), Hardlink(path="b", target="a")),
    "a sticky directory": (Directory(path="tmp", mode=0o1777),),
    "a setuid program": (File(path="su", body=HELLO, mode=0o4755),),
    "a path in name and prefix": (File(path="d" * 100 + "/" + "n" * 100, body=HELLO),),
    "a name that is too long": (File(path="n" * 101, body=HELLO),),
    "a path that is too long": (File(path="/".join(["d" * 50] * 6), body=HELLO),),
    "a path that is not ASCII": (File(path="crème/brûlée", body=HELLO),),
    "a long link target": (Symlink(path="l", target="../" * 40 + "t"),),
    "a link that is not ASCII": (Symlink(path="l", target="brûlée"),),
    "a tree": TREE,
}
SETTINGS = Settings(
    entrypoint=("/usr/bin/python3.11", "-I", "/opt/launch.py"),
    environment={"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", "HF_HUB_OFFLINE": "1"},
    labels={
        "org.opencontainers.image.title": "smol",
        "org.opencontainers.image.description": "petit modèle",
        "org.ovenproof.entry": "smol",
    },
    port=8000,
    user="2000:0",
    working_dir="/tmp",
)


def layer(name: str) -> Content:
    """A recipe's bytes, by digest and size."""
    made = recipe(RECIPES[name])
    data = b"".join(part.data for part in made.segments() if isinstance(part, Literal))
    assert len(data) == made.size
    return Content.of(data)


def huge() -> str:
    """The header alone of a file of 60 GiB."""
    member = tar.Member(path="model/w.safetensors", kind=tar.FILE, mode=0o644, size=60 << 30)
    return hashlib.sha256(tar.header(member)).hexdigest()


def digests() -> dict[str, str]:
    """Everything, by name."""
    found = {name: layer(name).digest.hex for name in RECIPES}
    found["the header of 60 GiB"] = huge()
    action = Action(
        kind="test",
        version=1,
        inputs={"a": Digest.of(b"a"), "é": Digest.of(b"e")},
        parameters={"profile": 1, "list": [1, None, True, "ü"]},
    )
    found["an action's key"] = action.key.hex
    layers = tuple(
        Layer(content=layer(name), title=name, action=action) for name in ("a tree", "a file")
    )
    image = assemble(layers, SETTINGS)
    found["a config"] = Content.of(image.config).digest.hex
    found["a manifest"] = image.digest.digest.hex
    return found


if __name__ == "__main__":
    version = ".".join(str(part) for part in sys.version_info[:3])
    print(json.dumps({"python": version, "digests": digests()}))  # noqa: T201
