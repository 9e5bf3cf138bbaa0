"""Sphinx's settings for the documentation as a site; make.py lays out what it reads."""

project = "kitbuild"
author = "the kitbuild developers"
extensions = ["myst_parser"]
root_doc = "index"
html_theme = "furo"
html_title = "kitbuild"
html_copy_source = False
html_show_sphinx = False
html_show_copyright = False
# Anchors for headings down to the third level, as forges make them.
myst_heading_anchors = 3
myst_enable_extensions = ["colon_fence"]
