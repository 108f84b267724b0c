"""Start an image and ask it: nothing is released that has not answered."""

from collections.abc import Mapping

from ovenproof import events
from ovenproof.smoke import ask as _ask
from ovenproof.smoke import container as _container
from ovenproof.smoke.container import Conditions
from ovenproof.smoke.report import Check, Report, Subject

__all__ = ["Check", "Conditions", "Report", "Subject", "run"]

UNRESTRICTED = Conditions()


def run(
    reference: str,
    subject: Subject,
    *,
    environment: Mapping[str, str],
    conditions: Conditions = UNRESTRICTED,
    listener: events.Listener = events.silent,
    timeout_s: float = 300,
) -> Report:
    """Start the image, make every check, remove the container.

    `environment` says which Docker engine is meant: DOCKER_HOST and its companions. Raises
    ImageFailed with all that failed, or with the container's last lines where it died.
    """
    name = f"test {reference}"
    listener(events.Started(name=name))
    with _container.started(reference, subject, conditions, environment, listener) as started:
        _container.wait(started, started.send, timeout_s=timeout_s)
        listener(events.Noted(text=f"{reference} is healthy"))
        checks = []
        for check in _ask.ask(subject, started.send):
            listener(events.Noted(text=f"{'ok' if check.passed else 'FAILED'}  {check.name}"))
            checks.append(check)
        code = started.exit_code()
        if code is not None:
            detail = f"ended with {code}:\n{started.last_lines()}"
            checks.append(Check("the container is still running", False, detail))
    report = Report(reference, tuple(checks))
    listener(events.Finished(name=name, note=f"{len(checks) - len(report.failed)}/{len(checks)}"))
    report.raise_if_failed()
    return report
