"""stub"""

from ovenproof.tasks.shell import verb


@verb(name="doctor")
def doctor(_context):
    """tbd."""
