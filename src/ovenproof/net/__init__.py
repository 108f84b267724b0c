"""What whoever speaks HTTP needs, whomever it speaks to."""
