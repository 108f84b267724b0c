"""A project that needs no network, and its command line, run for real.

Everything of it is made by hand here: the weights, two wheels, two Debian packages, and the
flavour's lock. Whoever is asked for more is a port at which nobody listens.
"""

import base64
import gzip
import hashlib
import io
import json
import os
import shutil
import signal
import struct
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from ovenproof.core import flavour

signal.signal(signal.SIGINT, signal.default_int_handler)
"""A suite in the background may have been told to ignore Ctrl-C; its children must not."""

BIG = 33 << 20
"""From 32 MiB on, a file is a layer of its own."""
PATIENCE_S = 120
WARM = """\
import encodings.cp437, importlib, json, os, pkgutil, sys
import ovenproof
for found in pkgutil.walk_packages(ovenproof.__path__, "ovenproof."):
    importlib.import_module(found.name)
from ovenproof.tasks import main

for line in sys.stdin:
    call = json.loads(line)
    child = os.fork()
    if child == 0:
        os.chdir(call["cwd"])
        os.environ.clear()
        os.environ.update(call["environment"])
        for number, name in enumerate((os.devnull, call["out"], call["err"])):
            os.dup2(os.open(name, os.O_RDWR), number)
        if call["powerless"] and os.geteuid() == 0:
            os.setgroups([])
            os.setgid(65534)
            os.setuid(65534)
        sys.argv = ["ovenproof", *call["words"]]
        main()
        sys.exit()
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""
"""The console script with its imports behind it: each call is a process of its own, at once.

It can also become `nobody`, who may not be able to read the Python that it runs on.
"""


@dataclass(frozen=True, slots=True)
class Done:
    """How a command ended."""

    code: int
    out: str
    err: str

    def json(self) -> Any:
        """What it said to a machine: nothing but JSON on stdout."""
        assert self.code == 0, self
        return json.loads(self.out)

    def digest(self) -> str:
        """The digest of the one image that it built."""
        assert self.code == 0, self
        (line,) = [line for line in self.out.splitlines() if line.startswith("digest")]
        return line.split()[1]


class Warm:
    """One Python that makes the calls of all tests."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._process = subprocess.Popen(
            [sys.executable, "-c", WARM],
            env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def call(
        self, words: Sequence[str], cwd: Path, environment: Mapping[str, str], powerless: bool
    ) -> Done:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        files = {"out": self._folder / "out", "err": self._folder / "err"}
        for path in files.values():
            path.write_text("")
        call = {
            "words": words,
            "cwd": str(cwd),
            "environment": dict(environment),
            "powerless": powerless,
            **{name: str(path) for name, path in files.items()},
        }
        print(json.dumps(call), file=self._process.stdin, flush=True)
        code = int(self._process.stdout.readline())
        return Done(code, files["out"].read_text(), files["err"].read_text())

    def end(self) -> None:
        self._process.communicate()


@dataclass(frozen=True, slots=True)
class Project:
    """A folder with models.yaml in it, a store beside it, and a home that is empty."""

    root: Path
    cache: Path
    home: Path
    warm: "Warm"
    environment: dict[str, str] = field(default_factory=dict)

    def run(
        self, *words: str, cwd: Path | None = None, powerless: bool = False, **environment: str
    ) -> Done:
        """`ovenproof WORDS`, to its end. `powerless` is not root: whom a folder's mode stops."""
        return self.warm.call(
            words, cwd or self.root, {**self.environment, **environment}, powerless
        )

    def run_cold(
        self, *words: str, program: Sequence[str] = (), umask: int = -1, **environment: str
    ) -> Done:
        """The same, from the start of a Python on."""
        process = self.start(*words, program=program, umask=umask, **environment)
        try:
            out, err = process.communicate(timeout=PATIENCE_S)
        except BaseException:
            process.kill()
            raise
        return Done(process.returncode, out, err)

    def start(
        self, *words: str, program: Sequence[str] = (), umask: int = -1, **environment: str
    ) -> "subprocess.Popen[str]":
        """The same, under way."""
        command = [*program] or [str(Path(sys.executable).parent / "ovenproof")]
        return subprocess.Popen(
            [*command, *words],
            cwd=self.root,
            env={**self.environment, **environment},
            umask=umask,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def build(self, *words: str, model: str = "tiny", **options: Any) -> Done:
        """`ovenproof build --model tiny`, where nothing else is said."""
        return self.run("build", "--model", model, *words, **options)

    def catalogue(self, models: str, flavour: str = "tiny") -> None:
        """Write models.yaml anew."""
        text = f"repository: kitchen\ndefaults:\n  flavour: {flavour}\nmodels:\n{models}"
        (self.root / "models.yaml").write_text(text)

    def lock(self) -> Any:
        """models.lock, read as any program would."""
        return json.loads((self.root / "models.lock").read_text())

    def add_wheel(self, name: str, text: str) -> None:
        """One more wheel in the store and in the flavour's lock."""
        path = self.root / "images/tiny/image.lock"
        lock = json.loads(path.read_text())
        data = _wheel(name, "1.0", text)
        wheel = {"filename": f"{name}-1.0-py3-none-any.whl", **_stored(self.cache, data)}
        path.write_text(json.dumps({**lock, "wheels": [*lock["wheels"], wheel]}))

    @property
    def dist(self) -> "Layout":
        return Layout(self.root / "dist")

    def blob(self, name: str) -> Path:
        """Where a wheel or a Debian package lies in the store, by the beginning of its name."""
        lock = json.loads((self.root / "images/tiny/image.lock").read_text())
        named = {wheel["filename"]: wheel for wheel in lock["wheels"]}
        named |= {deb["name"]: deb for deb in lock["debs"]}
        (digest,) = [str(item["digest"]) for key, item in named.items() if key.startswith(name)]
        return self.cache / "blobs/sha256" / digest.removeprefix("sha256:")

    def leftovers(self) -> list[Path]:
        """What unfinished work left, in the project and in the store."""
        left = [path for place in (self.root, self.cache) for path in place.rglob(".ovenproof-*")]
        return left + list((self.cache / "tmp").glob("*"))

    def check_store(self) -> None:
        """Everything in the store is what its name says."""
        for path in (self.cache / "blobs/sha256").iterdir():
            assert hashlib.sha256(path.read_bytes()).hexdigest() == path.name

    def forget(self, *, actions: bool = True) -> None:
        """Take back what was locked and proven, so that every layer has to be made again."""
        if actions:
            shutil.rmtree(self.cache / "actions", ignore_errors=True)
        (self.root / "models.lock").unlink(missing_ok=True)
        path = self.root / "images/tiny/image.lock"
        lock = json.loads(path.read_text())
        path.write_text(json.dumps({**lock, "layers": {}}))


@dataclass(frozen=True, slots=True)
class Layout:
    """An OCI layout, read by nothing of ours."""

    root: Path

    def images(self) -> dict[str, str]:
        """Tag -> digest."""
        index = json.loads((self.root / "index.json").read_text())
        return {
            item["annotations"]["org.opencontainers.image.ref.name"]: item["digest"]
            for item in index["manifests"]
        }

    def manifest(self, tag: str = "tiny") -> Any:
        return json.loads(self.blob(self.images()[tag]).read_text())

    def config(self, tag: str = "tiny") -> Any:
        return json.loads(self.blob(self.manifest(tag)["config"]["digest"]).read_text())

    def layers(self, tag: str = "tiny") -> list[str]:
        """Digests, lowest first."""
        return [layer["digest"] for layer in self.manifest(tag)["layers"]]

    def blob(self, digest: str) -> Path:
        return self.root / "blobs" / "sha256" / digest.removeprefix("sha256:")

    def check(self) -> "Layout":
        """Every blob is what its name says, every image is whole, and nothing else lies here."""
        for path in (self.root / "blobs" / "sha256").iterdir():
            with path.open("rb") as stream:
                assert hashlib.file_digest(stream, "sha256").hexdigest() == path.name
        for tag in self.images():
            manifest = self.manifest(tag)
            assert self.config(tag)["rootfs"]["diff_ids"] == self.layers(tag)
            for item in (manifest["config"], *manifest["layers"]):
                assert self.blob(item["digest"]).stat().st_size == item["size"]
        assert {path.name for path in self.root.iterdir()} == {"blobs", "index.json", "oci-layout"}
        return self


MakeProject: TypeAlias = Callable[..., Project]


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that everybody may enter, gone afterwards: these tests write a lot."""
    with tempfile.TemporaryDirectory(prefix="flow-") as name:
        place = Path(name)
        place.chmod(0o755)
        yield place
        for path in place.rglob("*"):
            if path.is_dir() and not path.is_symlink():
                path.chmod(0o755)


@pytest.fixture(scope="session")
def warm() -> Iterator[Warm]:
    with tempfile.TemporaryDirectory(prefix="flow-") as name:
        found = Warm(Path(name))
        yield found
        found.end()


@pytest.fixture
def make_project(folder: Path, warm: Warm) -> MakeProject:
    """Makes a project by its name: always the same one, each with a store and a home."""

    def make(name: str = "project") -> Project:
        return write_project(folder / name, warm)

    return make


@pytest.fixture
def project(make_project: MakeProject) -> Project:
    return make_project()


@pytest.fixture
def nobodys(project: Project) -> Project:
    """The project, owned by whom `powerless` is."""
    if os.geteuid() == 0:
        for path in (project.root.parent, *project.root.parent.rglob("*")):
            os.chown(path, 65534, 65534)
    return project


def write_project(here: Path, warm: Warm) -> Project:
    """The project of these tests, in a new folder; benches use it too."""
    project = Project(root=here / "repository", cache=here / "store", home=here / "home", warm=warm)
    for place in (project.root, project.cache, project.home):
        place.mkdir(parents=True)
    project.environment.update(_environment(project))
    project.catalogue("  tiny:\n    weights: {folder: ./tiny}\n")
    (project.root / "tasks.py").write_text("from ovenproof.tasks import namespace\n")
    _weights(project.root / "tiny")
    _flavour(project)
    return project


def _environment(project: Project) -> dict[str, str]:
    nobody = "http://127.0.0.1:9"
    return {
        **{name: os.environ[name] for name in ("PATH", "PYTHONPATH") if name in os.environ},
        "HOME": str(project.home),
        "LANG": "C.UTF-8",
        "OVENPROOF_CACHE": str(project.cache),
        "OVENPROOF_DEBIAN_MIRROR": nobody,
        "DOCKER_CONFIG": str(_no_engine(project.home)),
        "HF_ENDPOINT": nobody,
        "PIP_CONFIG_FILE": os.devnull,
        "PIP_INDEX_URL": f"{nobody}/simple",
        "PIP_RETRIES": "0",
        "NO_PROXY": "*",
        "PYTHONDONTWRITEBYTECODE": "1",
    }


def _no_engine(home: Path) -> Path:
    """Settings of Docker's program: nobody names an engine, and the one that is usual is not up."""
    settings = home / ".docker"
    meta = settings / "contexts" / "meta" / hashlib.sha256(b"nobody").hexdigest()
    meta.mkdir(parents=True)
    (settings / "config.json").write_text(json.dumps({"currentContext": "nobody"}))
    endpoint = {"Host": f"unix://{home}/no-docker.sock", "SkipTLSVerify": False}
    context = {"Name": "nobody", "Metadata": {}, "Endpoints": {"docker": endpoint}}
    (meta / "meta.json").write_text(json.dumps(context))
    return settings


def _weights(folder: Path) -> None:
    """Two shards, one of them big; what a tokenizer needs; and what no image does."""
    folder.mkdir()
    big = write_tensors(folder / "model-00001-of-00002.safetensors", {"big": BIG // 2})
    small = write_tensors(folder / "model-00002-of-00002.safetensors", {"small": 2048})
    texts = {
        "config.json": {
            "architectures": ["LlamaForCausalLM"],
            "torch_dtype": "bfloat16",
            "max_position_embeddings": 4096,
        },
        "model.safetensors.index.json": {"weight_map": {**big, **small}},
        "tokenizer.json": {"version": "1.0", "model": {"type": "BPE", "vocab": {"a": 0}}},
        "tokenizer_config.json": {"chat_template": "{{ messages }}"},
    }
    for name, value in texts.items():
        (folder / name).write_text(json.dumps(value))
    (folder / "pytorch_model.bin").write_bytes(b"never read")


def write_tensors(path: Path, sizes: Mapping[str, int]) -> dict[str, str]:
    """A safetensors file of bf16 zeros: tensor -> how many. Gives its part of the index."""
    header: dict[str, Any] = {}
    end = 0
    for name, count in sizes.items():
        header[name] = {"dtype": "BF16", "shape": [count], "data_offsets": [end, end + 2 * count]}
        end += 2 * count
    text = json.dumps(header).encode()
    with path.open("wb") as stream:
        stream.write(struct.pack("<Q", len(text)) + text)
        stream.truncate(8 + len(text) + end)
    return dict.fromkeys(sizes, path.name)


def _flavour(project: Project) -> None:
    """`tiny`: its packages lie in the store, and its lock was written by hand."""
    place = project.root / "images" / "tiny"
    place.mkdir(parents=True)
    (place / "image.yaml").write_text(FLAVOUR)
    wheels = {
        "vllm_tiny-1.0-py3-none-any.whl": _wheel("vllm_tiny", "1.0"),
        "crumb-2.0-py3-none-any.whl": _wheel("crumb", "2.0"),
    }
    debs = {
        "base": _deb("base", {"usr/share/base/words": "hello"}),
        "python": _deb("python", {"usr/bin/python3.11": "#!/bin/sh"}),
    }
    lock = {
        "format": 1,
        "fingerprint": str(flavour.parse(FLAVOUR, name="image.yaml").fingerprint([])),
        "debs": [
            {
                "name": name,
                "version": "1.0",
                "archive": "debian",
                "path": f"pool/main/{name}_1.0_all.deb",
                **_stored(project.cache, data),
            }
            for name, data in debs.items()
        ],
        "wheels": [
            {"filename": name, **_stored(project.cache, data)} for name, data in wheels.items()
        ],
        "options": [
            ["one", False, ["--model"]],
            ["some", False, ["--served-model-name"]],
            *(["one", False, [name]] for name in ONE_VALUE),
            ["nothing", False, ["--enforce-eager", "--no-enforce-eager"]],
        ],
        "layers": {},
    }
    (place / "image.lock").write_text(json.dumps(lock))


ONE_VALUE = ("--host", "--port", "--dtype", "--max-model-len", "--max-num-seqs")
FLAVOUR = """\
description: a root and a runtime of a few files
debian:
  suite: bookworm
  packages: [base, python]
python:
  version: "3.11"
  requirements: tiny
  glibc: "2.36"
  top: [vllm-tiny]
  vllm: vllm-tiny
program: [/usr/bin/python3.11, -m, vllm]
needs_gpu: false
shm_bytes: 1048576
"""


def _stored(cache: Path, data: bytes) -> dict[str, Any]:
    """Content that is put into the store, as a lock names it."""
    digest = hashlib.sha256(data).hexdigest()
    place = cache / "blobs" / "sha256" / digest
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(data)
    return {"digest": f"sha256:{digest}", "size": len(data)}


def _wheel(name: str, version: str, module: str = "") -> bytes:
    info = f"{name}-{version}.dist-info"
    files = {
        f"{name}/__init__.py": module or f"name = {name!r}\n",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    rows = []
    for path, text in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).decode()
        rows.append(f"{path},sha256={digest.rstrip('=')},{len(text)}\n")
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for path, text in {**files, f"{info}/RECORD": "".join(rows) + f"{info}/RECORD,,\n"}.items():
            archive.writestr(zipfile.ZipInfo(path), text, zipfile.ZIP_DEFLATED)
    return buffer.getvalue()


def _deb(name: str, files: Mapping[str, str]) -> bytes:
    control = {"control": f"Package: {name}\nVersion: 1.0\n"}
    data = b"!<arch>\n"
    for member, body in (
        ("debian-binary", b"2.0\n"),
        ("control.tar.gz", gzip.compress(_tar(control), mtime=0)),
        ("data.tar.gz", gzip.compress(_tar(files), mtime=0)),
    ):
        data += f"{member:<16}{0:<12}{0:<6}{0:<6}{'100644':<8}{len(body):<10}`\n".encode()
        data += body + b"\n" * (len(body) % 2)
    return data


def _tar(files: Mapping[str, str]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for path, text in files.items():
            info = tarfile.TarInfo(f"./{path}")
            info.size = len(text)
            archive.addfile(info, io.BytesIO(text.encode()))
    return buffer.getvalue()


@pytest.fixture
def spoil() -> Callable[[Path], None]:
    """Flips one bit in the middle of a file, which keeps its size, mode and times."""

    def flip(path: Path) -> None:
        status = path.stat()
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 1
        path.chmod(0o644)
        path.write_bytes(data)
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))

    return flip
