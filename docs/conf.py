"""Configuration of Sphinx."""

import os
import re
import sys
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

HERE = Path(__file__).parent
# A page runs its code against the local archive of the tests.
sys.path[:0] = [str(HERE.parent), str(HERE / "_ext"), str(HERE.parent / "tests" / "catalogs")]

# Notebooks show figures with the backend of Jupyter, whatever the terminal uses.
os.environ.pop("MPLBACKEND", None)

import numpydoc.numpydoc  # noqa: E402

import clusterpost  # noqa: E402

# Sphinx reads the public names from the module's dictionary, where they appear on first use.
for _module in (clusterpost, clusterpost.plotting):
    for _name in _module.__all__:
        getattr(_module, _name)

project = "clusterpost"
author = "clusterpost developers"
copyright = "2026, clusterpost developers"
try:
    release = version("clusterpost")
except PackageNotFoundError:
    release = "0.1.dev0"
version = release.split("+")[0]

extensions = [
    "sphinx.ext.intersphinx",
    "sphinx.ext.mathjax",
    "sphinx.ext.viewcode",
    "numpydoc",
    "sphinx_automodapi.automodapi",
    "sphinx_automodapi.smart_resolver",
    "sphinx_copybutton",
    "myst_nb",
    "sphinx-mathjax-offline",  # formulas without the network
    "aliases",
    "attributes",
    "registry",
    "run",
    "signatures",
]
exclude_patterns = ["_build", "api/*.ipynb"]

# Notebooks run when the pages are built, except one that needs a catalog from MAST: its outputs are stored.
nb_execution_mode = "cache"
nb_execution_excludepatterns = ["notebooks/legus.ipynb"]
nb_execution_in_temp = True
nb_execution_raise_on_error = True
nb_execution_timeout = 300
nb_output_stderr = "remove"  # progress bars
myst_enable_extensions = ["dollarmath"]
default_role = "py:obj"
numfig = True
highlight_language = "python"

# Downloading the inventories of other projects needs a network, and a failure is a warning: only on request.
intersphinx_mapping = {}
if os.environ.get("READTHEDOCS") or os.environ.get("CLUSTERPOST_INTERSPHINX"):
    intersphinx_mapping = {
        "python": ("https://docs.python.org/3/", None),
        "numpy": ("https://numpy.org/doc/stable/", None),
        "astropy": ("https://docs.astropy.org/en/stable/", None),
        "matplotlib": ("https://matplotlib.org/stable/", None),
    }

# The types of parameters and results, and exceptions, link to the classes of the two lists of names.
numpydoc_xref_param_type = True
numpydoc.numpydoc.DEFAULT_LINKS.clear()  # words such as "sequence", in the documentation of Python
numpydoc_xref_ignore = "all"
numpydoc_xref_aliases = {
    name: f"{thing.__module__}.{name}"
    for page in ("api.rst", "developer_api.rst")
    for module in re.findall(r"automodapi:: ([\w.]+)", (HERE / page).read_text())
    for name in import_module(module).__all__
    if isinstance(thing := getattr(import_module(module), name), type)
}

autodoc_preserve_defaults = True  # as in the code, instead of arrays, parameters and paths of this machine
numpydoc_show_class_members = False
numpydoc_class_members_toctree = False
automodsumm_inherited_members = False
automodapi_toctreedirnm = "api"
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True

html_theme = "pydata_sphinx_theme"
html_title = f"clusterpost {version}"
html_static_path = ["_static"]
html_css_files = ["clusterpost.css"]
html_copy_source = False
html_theme_options = {
    "logo": {"text": "clusterpost"},
    "navbar_end": ["theme-switcher"],
    "header_links_before_dropdown": 6,
    "show_nav_level": 1,
    "navigation_with_keys": False,
    "show_toc_level": 2,
    "show_prev_next": True,
    "footer_start": ["copyright"],
    "footer_end": ["sphinx-version"],
    "secondary_sidebar_items": ["page-toc"],
}
html_sidebars = {"index": []}
