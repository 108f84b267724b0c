"""One upload as a state machine: it says what to ask next, and is told what was answered.

It opens no connection and never waits; so every order of faults can be played through. An answer is
judged once (`verdict.py`), a table says what follows from the verdict (`upload_table.py`), and what
is known of the upload stands in its course (`upload_course.py`). Whatever a registry answers, the
machine ends: each fault without progress is counted, and progress is bytes that no try before has
brought.

The digest of a blob may be known only when all of its bytes have gone by. Such a blob goes the same
way; before the PUT, which must name the digest, the machine asks for it.
"""

from ovenproof.core.digest import Content, Digest
from ovenproof.registry.limits import Limits
from ovenproof.registry.reference import Repository
from ovenproof.registry.upload_course import Course, Session
from ovenproof.registry.upload_steps import Answer, Ask, Name, Unnamed
from ovenproof.registry.upload_table import follow
from ovenproof.registry.verdict import Verdict, judge

PATIENCE = 5
"""So many faults in a row, and an upload is given up."""


class Upload(Course):
    """One blob on its way. Do what `next` says, and tell what came of it, until a Result."""

    def __init__(
        self,
        content: Content | Unnamed,
        limits: Limits,
        *,
        homes: tuple[Repository, ...] = (),
        session: str | None = None,
        patience: int = PATIENCE,
    ) -> None:
        """`homes` may have a blob with a digest; nobody can be asked for any other."""
        super().__init__(content, limits, homes, patience)
        if session is None:
            self.begin()
        elif self.manner.whole:
            self.cancel(session)
        else:
            self.begun = Session(address=session, sent=self.size, joined=True, inherited=True)
            self.next = Ask(session)

    def answered(self, answer: Answer) -> None:
        """The registry answered what `next` asked."""
        follow(self, judge(self.asked, answer), answer)

    def broke(self) -> None:
        """There was no answer: nobody knows how much of the request has arrived."""
        follow(self, Verdict.LOST, Answer(status=0))

    def passed_over(self) -> None:
        """We go on without what `next` asks: a mount, an inherited session, or a Cancel."""
        follow(self, Verdict.SPARED, Answer(status=0))

    def named(self, digest: Digest) -> None:
        """All the bytes that have gone by are called this."""
        if self.next != Name():
            raise ValueError("nobody asked for a digest")
        self.digest = digest
        self.advance(self.size)


def with_digest(session: str, digest: Digest) -> str:
    """The address that ends an upload. The query of a Location is kept as it is."""
    return f"{session}{'&' if '?' in session else '?'}digest={digest}"
