"""Addresses as a person may see them."""

import re

_ACCOUNT = re.compile(r"//[^/\s]*@")


def shown(text: str) -> str:
    """An address, or a text with some, without users and passwords."""
    return _ACCOUNT.sub("//", text)
