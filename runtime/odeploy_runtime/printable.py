"""Text from files and other machines, made safe for a terminal and for a log line."""


def printable(text: str, keep: str = "") -> str:
    """Replace every character that is not printable by `?`, except those of `keep`.

    These are control characters (also those that begin a terminal's escape sequences), line breaks, characters
    that reverse the direction of writing, and lone surrogates, which no terminal can encode.
    """
    return "".join(c if c.isprintable() or c in keep else "?" for c in text)
