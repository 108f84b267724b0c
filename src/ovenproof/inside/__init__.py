"""What runs inside an image. `launch.py` is copied into it as it is."""

from importlib.resources import files


def launcher() -> bytes:
    """The launcher's source, as it lies in an image."""
    return files(__name__).joinpath("launch.py").read_bytes()
