"""A widget of Qt as a picture."""
# pyright: basic, reportMissingImports=false

from pathlib import Path
from typing import Any


def save(widget: Any, path: Path) -> None:
    """With all of PNG's zeal: the pictures stand in the repository."""
    if not widget.grab().save(str(path), "PNG", 0):
        raise OSError(f"{path} could not be written")
