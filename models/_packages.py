"""Finds files that come inside installed packages, without importing those packages."""

from importlib.util import find_spec
from pathlib import Path


def package_file(
    package: str, file: str, *, distribution: str, command: str = "pip install 'lrpjax[zoo]'"
) -> Path:
    """Locates a data file inside an installed package; none of the package's code is run.

    Args:
        package: The package's import name.
        file: The file's path inside the package's folder, with forward slashes.
        distribution: What pip calls the package, for the message when it is missing.
        command: What installs it, for the same message.

    Returns:
        The path of the file.

    Raises:
        ImportError: The package is not installed, or lacks the file.
    """
    spec = find_spec(package)
    folders = list(spec.submodule_search_locations or ()) if spec else []
    for folder in folders:
        path = Path(folder, *file.split("/"))
        if path.is_file():
            return path
    problem = f"lacks {file}" if folders else "is not installed"
    raise ImportError(
        f"the package {distribution!r} {problem}; the model's files come with: {command}",
        name=package,
    )
