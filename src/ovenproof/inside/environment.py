"""What an image's config must say for the launcher, and for vLLM, to work."""

from pathlib import PurePosixPath

LAUNCHER = PurePosixPath("/opt/ovenproof/launch.py")
SERVE_FILE = LAUNCHER.with_name("serve.json")
ENTRYPOINT = ("/usr/bin/python3.11", "-IS", str(LAUNCHER))
"""Isolated and without `site`: starts in 20 ms whatever site-packages holds, and no PYTHON*
variable reaches the launcher. The flags end with it: vLLM is started without them."""
USER = "2000:0"
"""Not root. Group 0 because platforms that pick a random uid give it that group."""
HOME = "/tmp/ovenproof"  # noqa: S108  a path of the image, where /tmp is often the only tmpfs
"""Made by the launcher, since a tmpfs mounted over /tmp hides whatever an image has there."""


def image_environment(*, gpu: bool = False) -> dict[str, str]:
    """The variables of an image's config. None is called `VLLM_*` but those that vLLM knows.

    HOME alone says where caches go: vLLM's, Triton's and the XDG folders lie below it unless
    somebody sets them. USER and LOGNAME are the launcher's business, for they depend on the uid.
    """
    variables = {
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "LANG": "C.UTF-8",
        "HOME": HOME,
        "HF_HUB_OFFLINE": "1",
        "TRANSFORMERS_OFFLINE": "1",
        "VLLM_NO_USAGE_STATS": "1",
        "DO_NOT_TRACK": "1",
        "PYTHONUNBUFFERED": "1",
    }
    if gpu:
        variables |= {
            "NVIDIA_VISIBLE_DEVICES": "all",
            "NVIDIA_DRIVER_CAPABILITIES": "compute,utility",
        }
    return variables
