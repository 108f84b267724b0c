"""stub"""

from ovenproof.tasks.shell import verb


@verb(name="check")
def check(_context):
    """tbd."""
