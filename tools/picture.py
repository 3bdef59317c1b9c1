"""Widgets of Qt as pictures, when they show what there is to show."""
# pyright: basic, reportMissingImports=false, reportAttributeAccessIssue=false

import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

FIRST_S, AGAIN_S, LONGEST_S = 6.0, 0.5, 40.0
"""Values have come by the first look, nearly always; the last ones of a busy machine are waited for."""


def save(widget: Any, path: Path) -> None:
    """With all of PNG's zeal: the pictures stand in the repository."""
    if not widget.grab().save(str(path), "PNG", 0):
        raise OSError(f"{path} could not be written")


def names_for_values(page: Any) -> list[str]:
    """What shows the address of a record still, for want of its value."""
    from pydm.widgets import PyDMLabel

    return [label.text() for label in page.findChildren(PyDMLabel) if label.text().startswith("ca://")]


def save_all(application: Any, pages: Mapping[str, Any], pictures: Path) -> None:
    """Draw each page into NAME.png once its labels show values, and end the process; 1 if some never do."""
    from qtpy.QtCore import QTimer

    pictures.mkdir(parents=True, exist_ok=True)
    deadline = time.monotonic() + LONGEST_S

    def look() -> None:
        left = [f"{name}: {address}" for name, page in pages.items() for address in names_for_values(page)]
        if left and time.monotonic() < deadline:
            QTimer.singleShot(int(AGAIN_S * 1000), look)
            return
        for name, page in pages.items():
            save(page, pictures / f"{name}.png")
            print(pictures / f"{name}.png", flush=True)
        for each in left:
            print(f"has no value: {each}", flush=True)
        os._exit(1 if left else 0)  # libca's threads need no farewell

    QTimer.singleShot(int(FIRST_S * 1000), look)
    application.exec()
