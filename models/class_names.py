"""Which class a person means by a name."""

import difflib
from collections.abc import Iterator, Sequence


def class_index(
    name: str | int,
    network: str,
    labels: Sequence[str],
    synonyms: Sequence[Sequence[str]] = (),
) -> int:
    """The index of the class that a name means.

    Upper and lower case are one, and so are ``_`` and a space. A name that is one class's label
    means that class, even where it is also another's synonym.

    Args:
        name: A label, a synonym, or the index itself as a number or as text.
        network: What the network is called, for the messages.
        labels: One name per class.
        synonyms: For each class, further names it is known by; or none at all.

    Returns:
        The class's position among the labels.

    Raises:
        ValueError: No class has this name (the message has close matches), several have it (the
            message lists them), or the index is out of range.

    Example:
        >>> class_index("Positive", "sst2", ("negative", "positive"))
        1
    """
    text = str(name).strip().replace("_", " ")
    if text.removeprefix("-").isdecimal():
        return _checked(int(text), network, labels)
    found = next((tier for tier in _matches(text, labels, synonyms) if tier), [])
    if len(found) == 1:
        return found[0]
    if found:
        classes = "; ".join(f"{index}: {_names(index, labels, synonyms)}" for index in found)
        raise ValueError(f"{text!r} is the name of several classes; give the number: {classes}")
    every = [*labels, *(name for names in synonyms for name in names)]
    folded = list(dict.fromkeys(name.casefold() for name in every))
    close = difflib.get_close_matches(text.casefold(), folded)
    hint = f"; close matches: {', '.join(close)}" if close else ""
    raise ValueError(f"{network} has no class named {text!r}{hint}")


def _checked(index: int, network: str, labels: Sequence[str]) -> int:
    if 0 <= index < len(labels):
        return index
    raise ValueError(f"{network} has the classes 0 to {len(labels) - 1}; {index} is out of range")


def _matches(
    text: str, labels: Sequence[str], synonyms: Sequence[Sequence[str]]
) -> Iterator[list[int]]:
    """The classes that ``text`` may mean, from the strictest reading to the loosest."""
    folded = text.casefold()
    yield [i for i, label in enumerate(labels) if label == text]
    yield [i for i, label in enumerate(labels) if label.casefold() == folded]
    yield [i for i, names in enumerate(synonyms) if folded in map(str.casefold, names)]


def _names(index: int, labels: Sequence[str], synonyms: Sequence[Sequence[str]]) -> str:
    return ", ".join(dict.fromkeys((labels[index], *(synonyms[index] if synonyms else ()))))
