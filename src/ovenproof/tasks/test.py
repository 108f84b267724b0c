"""stub"""

from ovenproof.tasks.shell import verb


@verb(name="test")
def test(_context):
    """tbd."""
