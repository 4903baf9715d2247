"""Every message in the package's source is in words that the command line can print."""

import argparse
import ast
import re
from pathlib import Path

import pytest
from astropy.io import fits

import clusterpost
from clusterpost import errors
from clusterpost.arguments import make_parser
from clusterpost.cli import CALLS, main
from clusterpost.errors import InputError

SOURCE = Path(clusterpost.__file__).parent
SHOWN = {name for name in errors.__all__ if name.endswith(("Error", "Warning"))} | {"Fault", "Finding"}
PYTHON = re.compile(r"""\b[A-Za-z_]{2,}=(?!=|FLUX)      # an argument
                      | \b(tbl|meta|out)\b[.\[(]       # a variable
                      | \b\w+\((\)|\.\.\.|tbl)         # a call
                      | \bclusterpost\.conf | \bkeyword
                      | \{["'] """, re.VERBOSE)
# Whose messages only the shell shows.
OF_THE_SHELL = ("cli.py", "training/grid.py", "flow/bundled.py")
# Options that no command takes, with the public function whose callers alone see the message.
OF_PYTHON_ALONE = {
    "color": "plot_color_color", "family": "ProductPrior", "highlight": "plot_comparison",
    "limit": "plot_age_mass", "linear": "plot_posterior", "mass": "plot_age_mass", "metallicity": "SurveyPrior",
    "per": "plot_age_distribution", "published": "compare_with_catalog", "redshift": "GalaxyFamily",
    "system": "plot_color_color",
}


def _text(node):
    if isinstance(node, ast.JoinedStr):
        return "".join(_text(value) for value in node.values)
    return node.value if isinstance(node, ast.Constant) else "..."


def _messages(path):
    """Yield line and text of whatever may be shown: what is raised or warned of, and what names an option."""
    tree = ast.parse(path.read_text())
    parts = {part for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values}
    parts |= {node.value for node in ast.walk(tree) if isinstance(node, ast.Expr)}  # docstrings
    shown = {inside for node in ast.walk(tree)
             if isinstance(node, ast.Call) and getattr(node.func, "id", None) in SHOWN for inside in ast.walk(node)}
    for node in ast.walk(tree):
        if node in parts or not isinstance(node, ast.JoinedStr | ast.Constant):
            continue
        text = _text(node)
        if isinstance(text, str) and " " in text and (node in shown or re.search("(option|setting):", text)):
            yield node.lineno, text


MESSAGES = [(f"{path.relative_to(SOURCE)}:{line}", text) for path in sorted(SOURCE.rglob("*.py"))
            if path.name not in ("errors.py", "__main__.py") for line, text in _messages(path)]


def _options(parser):
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for sub in action.choices.values():
                yield from _options(sub)
        yield from action.option_strings


def test_messages_are_found():
    assert len(MESSAGES) > 300


@pytest.mark.parametrize(("place", "text"), MESSAGES, ids=[place for place, _ in MESSAGES])
def test_a_message_names_no_python_argument(place, text):
    at_the_shell = InputError(text).at_the_shell()
    assert not PYTHON.search(at_the_shell.replace('{"F275W": ("flux column", "error column"), ...}', "")), at_the_shell
    assert place.startswith(OF_THE_SHELL) or not re.search(r"(?<!\w)--(?!no-deps|force-reinstall)\w", text), text


def test_an_option_that_is_named_exists():
    there = set(_options(make_parser(CALLS)))
    named = {name for _, text in MESSAGES for name in re.findall(r"option:([a-z]+(?:-[a-z]+)*)", text)}
    strange = {name for name in named if f"--{name}" not in there} - set(errors._AT_THE_SHELL)
    assert strange == set(OF_PYTHON_ALONE)


def test_a_setting_that_is_named_exists():
    named = {name for _, text in MESSAGES for name in re.findall(r"setting:([a-z_]+)", text)}
    assert named
    for name in named:
        assert hasattr(clusterpost.conf, name)


@pytest.mark.filterwarnings("always::clusterpost.errors.InputWarning")
def test_an_option_that_the_command_has_not_is_named_with_the_one_that_has(tmp_path, capsys):
    fields = [fits.table_to_hdu(clusterpost.simulate(2, seed=seed, distance=10)) for seed in (1, 2)]
    path, draws = tmp_path / "fields.fits", tmp_path / "draws.fits"
    fits.HDUList([fits.PrimaryHDU(), *fields]).writeto(path)
    assert main(["cite", str(path)]) == 0
    assert "--hdu of clusterpost infer chooses" in capsys.readouterr().err
    assert main(["sample", str(path), str(draws), "-n", "20", "--no-refine", "--quiet"]) == 0
    assert "--hdu chooses" in capsys.readouterr().err


def test_positions_that_are_absent(inferred, tmp_path, capsys):
    inferred.write(tmp_path / "o.ecsv")
    assert main(["plot", str(tmp_path / "o.ecsv"), str(tmp_path / "sky.png"), "--kind", "sky"]) == 2
    assert "give them with the names 'ra' and 'dec'" in capsys.readouterr().err
