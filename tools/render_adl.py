"""Draw MEDM's screens without MEDM, against an IOC that serves: adl2pydm makes them PyDM's, PyDM draws them.

    render_adl.py SCREENS PICTURES P R [NAME=VALUE ...]     (EPICS_CA_ADDR_LIST says where the IOC is)

PyDM is not MEDM: fonts and frames differ, places, texts, values and colours of alarms are the screen's own.
"""
# pyright: basic, reportMissingImports=false, reportAttributeAccessIssue=false

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from picture import save_all


def converted(screens: Path, directory: Path) -> list[Path]:
    """PyDM's form of each screen; what this PyDM does not have is drawn as a plain frame."""
    tool = Path(sys.executable).with_name("adl2pydm")
    files = [str(path) for path in sorted(screens.glob("*.adl"))]
    subprocess.run([str(tool), "-d", str(directory), *files], check=True, stdout=subprocess.DEVNULL)
    for path in directory.glob("*.ui"):
        text = path.read_text()
        text = text.replace("PyDMAbsoluteGeometry", "QFrame")
        # MEDM asks for the number of a state; PyDM would compare its label.
        text = text.replace(
            "&quot;trigger&quot;: true", "&quot;trigger&quot;: true, &quot;use_enum&quot;: false"
        )
        text = re.sub(r"<customwidget>\s*<class>QFrame</class>.*?</customwidget>", "", text, flags=re.DOTALL)
        path.write_text(text)
    return sorted(directory.glob("*.ui"))


GROUND = "#bbbbbb"
GOOD = "rgb(0, 216, 0)"
"""MEDM's green: the text of what is coloured by its alarm."""

ALARMS = {1: "yellow", 2: "red", 3: "white"}


def colour_by_alarm(display: Any) -> None:
    """MEDM's `clrmod="alarm"`, which adl2pydm leaves out."""
    from pydm.widgets import PyDMLabel

    for label in display.findChildren(PyDMLabel):
        style = label.styleSheet()
        if GOOD in style:
            label.alarmSensitiveContent = True
            rules = (f"PyDMLabel[alarmSeverity='{n}'] {{ color: {ink}; }}" for n, ink in ALARMS.items())
            label.setStyleSheet(style.replace(f"#{label.objectName()}", "") + "\n".join(rules))


def main(screens: Path, pictures: Path, macros: dict[str, str]) -> None:
    os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
    os.environ.setdefault("PYDM_DEFAULT_PROTOCOL", "ca")
    os.environ.setdefault("PYDM_EPICS_LIB", "pyepics")
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    from pydm import Display, PyDMApplication
    from qtpy.QtGui import QColor, QPalette

    with tempfile.TemporaryDirectory() as directory:
        application = PyDMApplication(use_main_window=False, hide_nav_bar=True)
        shown = {}
        for path in converted(screens, Path(directory)):
            display = Display(ui_filename=str(path), macros=macros)
            display.setWindowTitle(path.stem)
            shades = display.palette()
            shades.setColor(QPalette.Window, QColor(GROUND))
            display.setPalette(shades)
            display.setAutoFillBackground(True)
            colour_by_alarm(display)
            display.show()
            shown[path.stem] = display

        save_all(application, shown, pictures)


if __name__ == "__main__":
    source, target, p, r, *rest = sys.argv[1:]
    main(Path(source), Path(target), {"P": p, "R": r, **dict(word.split("=", 1) for word in rest)})
