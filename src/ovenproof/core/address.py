"""Addresses as a person may see them."""

import re

_ACCOUNT = re.compile(r"//(?:[^/\s:\[@]*:(?!\d*(?:[/?#\s]|$))\S*@(?!sha256:)|[^/\s]*@)")
"""After a colon that no port follows a password begins, which may have slashes in it."""
_LOGIN = re.compile(r"^.*@(?!sha256:)", re.DOTALL)


def shown(text: str) -> str:
    """An address, or a text with some, without users and passwords."""
    return _ACCOUNT.sub("//", text)


def without_login(text: str) -> str:
    """The name of an image or a host, without all that may be a user and a password before it."""
    return _LOGIN.sub("…@", text)
