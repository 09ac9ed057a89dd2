"""All text in a nested value, as JSON and YAML have them."""

from __future__ import annotations

from collections.abc import Container, Iterator


def strings(value: object, without: Container[str] = ()) -> Iterator[str]:
    """Every string in `value`, depth first; those below the keys `without` are skipped.

    >>> list(strings({"role": "user", "content": ["a", {"b": "c"}]}, without={"role"}))
    ['a', 'c']
    """
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, member in value.items():
            if key not in without:
                yield from strings(member, without)
    elif isinstance(value, list):
        for member in value:
            yield from strings(member, without)
