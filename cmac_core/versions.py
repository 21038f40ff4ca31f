"""Which packages are there. A checkout that was not installed is none, and runs all the same."""

from importlib.metadata import PackageNotFoundError, version


def installed(*names: str) -> dict[str, str]:
    """Versions by name, with underscores, of those that are installed."""
    found = {}
    for name in names:
        try:
            found[name.replace("-", "_")] = version(name)
        except PackageNotFoundError:
            continue
    return found
