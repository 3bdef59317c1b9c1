"""Sphinx settings."""

import logging
from importlib.metadata import version as version_of

project = "beamtime-ioc"
author = "beamtime-ioc contributors"
copyright = f"2026, {author}"
release = version = version_of("beamtime-ioc")

extensions = ["myst_parser"]
myst_enable_extensions = ["colon_fence", "deflist"]
# Headings are link targets: [the gate](way.md#the-gate)
myst_heading_anchors = 3
exclude_patterns = ["_build"]
# The index pages list whatever lies beside them, be it nothing yet; Sphinx has no switch for this warning.
logging.getLogger("sphinx.sphinx.directives.other").addFilter(
    lambda record: getattr(record, "subtype", None) != "empty_glob"
)

html_theme = "furo"
html_title = f"beamtime-ioc {release}"
