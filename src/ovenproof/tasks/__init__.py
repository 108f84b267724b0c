"""The tasks, a short module per verb. Environment, terminal and exit codes live here alone.

What is heavy is imported inside the verbs, so that `invoke --list` answers at once.
"""

from invoke import Collection, Program

from ovenproof.tasks import (
    build,
    check,
    clean,
    copy,
    doctor,
    hub_cache,
    lock,
    matrix,
    note,
    plan,
    push,
    pushed,
    run,
    tag,
    test,
)
from ovenproof.tasks import list as list_

namespace = Collection()
for _task in (
    build.build,
    check.check,
    clean.clean,
    copy.copy,
    doctor.doctor,
    hub_cache.export_cache,
    hub_cache.import_cache,
    list_.list_,
    lock.lock,
    matrix.matrix,
    note.note,
    plan.plan,
    push.push,
    pushed.pushed,
    run.run,
    tag.tag,
    test.test,
):
    namespace.add_task(_task)


def main() -> None:
    """`ovenproof`, for a repository that has a models.yaml and nothing else."""
    from ovenproof import __version__

    Program(version=__version__, namespace=namespace, name="ovenproof", binary="ovenproof").run()
