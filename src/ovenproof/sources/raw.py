"""A layer that is a file of the weights, byte for byte: what a ModelPack artifact is made of."""

from ovenproof.core.content import Literal
from ovenproof.core.layer import Verbatim
from ovenproof.core.model_lock import ModelLock
from ovenproof.core.plan import Step
from ovenproof.events import Listener
from ovenproof.sources.interface import Source
from ovenproof.store.shelf import Prepared


def prepare(step: Step, lock: ModelLock, source: Source, listener: Listener) -> Prepared:
    """Put the one file that the step names within reach."""
    (file,) = (file for file in lock.files if file.path in step.action.inputs)
    body = source.body(file)
    assert not isinstance(body, Literal)
    return Prepared(Verbatim(body), source.shelf(lock, listener))
