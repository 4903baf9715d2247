"""Directives that write tables from the package's own registries."""

import json
import re
from html import escape
from pathlib import Path

from docutils import nodes
from docutils.parsers.rst import Directive
from docutils.statemachine import StringList
from sphinx.util.nodes import nested_parse_with_titles

import clusterpost


def list_table(header, rows, widths, style="registry"):
    """Return the lines of a list-table."""
    lines = [".. list-table::", "   :header-rows: 1", f"   :class: {style}", f"   :widths: {widths}", ""]
    for row in [header, *rows]:
        lines += [f"   {'*' if i == 0 else ' '} - {cell}".rstrip() for i, cell in enumerate(row)]
    return lines


class RegistryTable(Directive):
    """Table of a registry; subclasses return its lines."""

    def run(self):
        lines = StringList(self.lines(), source="registry")
        node = nodes.section()
        node.document = self.state.document
        nested_parse_with_titles(self.state, lines, node, self.content_offset)
        return node.children


class Bands(RegistryTable):
    def lines(self):
        from clusterpost.bands import BANDS

        rows = [(f"``{b.name}``", b.instrument, f"{b.pivot:.1f}", f"{b.ab_minus_vega:+.3f}") for b in BANDS.values()]
        return list_table(("Band", "Instrument", "Pivot [Å]", "AB − Vega [mag]"), rows, "25 30 20 25")


class Flags(RegistryTable):
    def lines(self):
        from clusterpost.flags import FLAGS

        rows = [(str(f.bit), f.name, f.severity, f.description) for f in FLAGS]
        return list_table(("Bit", "Name", "Severity", "Meaning"), rows, "8 20 12 60")


class OutputColumns(RegistryTable):
    """Table of the output columns of the families of clusters, the default first."""

    def lines(self):
        from clusterpost.families import get_family
        from clusterpost.schema import result_columns

        rows = [(f"``{c.name}``", c.unit or "–", c.description.replace("{percent}", "*q*"),
                 f"``{c.ucd}``" if c.ucd else "–")
                for c in {c.name: c for family in ("stochastic", "clusters")
                          for c in result_columns(get_family(family)())}.values()]
        return list_table(("Column", "Unit", "Meaning", "UCD"), rows, "20 9 39 32", "registry whole")


class ModelCard(RegistryTable):
    """Table of the architecture and training of a model, from its card."""

    required_arguments = 1

    def lines(self):
        card = json.loads((Path(clusterpost.__file__).parent / "models" / f"{self.arguments[0]}.json").read_text())
        table = affine_table if card["architecture"]["kind"] == "cinn-affine" else spline_table
        return [*table(card), "", *list_table(("Training", ""), training_record(card), "35 65")]


class Certificate(RegistryTable):
    """Table of the calibration certificate in a model's card."""

    required_arguments = 1

    def lines(self):
        from clusterpost.flow.bundled import MODELS_PATH
        from clusterpost.flow.metadata import certificate_of
        from clusterpost.validation.certificate import certificate_table

        certificate = certificate_of(json.loads((MODELS_PATH / f"{self.arguments[0]}.json").read_text()))
        if certificate is None:
            return ["This model has no certificate."]
        rows = [(row["posterior"], row["test"], f"{row['n']:,}", f"{row['max_difference']:.4f}",
                 f"{row['band']:.4f}" if row["band"] == row["band"] else "–", "yes" if row["inside_band"] else "**no**")
                for row in certificate_table(certificate)]
        versions = ", ".join(f"{name} {value}" for name, value in certificate["versions"].items())
        entropy = [f"Entropy, {name}: {record['entropy']['mean_entropy']:.4f} nat; mean :math:`-\\ln q` at the truths "
                   f"{record['entropy']['mean_nll']:.4f} (z = {record['entropy']['z']:+.1f})."
                   for name, record in certificate["posteriors"].items()
                   if record["entropy"]["difference"] is not None]
        header = ("Posterior", "Test", "Mocks", "Largest difference", "Band", "Inside")
        return [f"{certificate['n_draws']} draws for each mock, seed {certificate['seed']}, {certificate['date']}; "
                f"{versions}.", "", *list_table(header, rows, "12 33 13 18 12 12"), "", " ".join(entropy)]


class ClaimsTable(RegistryTable):
    """Table of the papers' claims written by ``python -m benchmarks.papers``; arguments are model and table name."""

    required_arguments = 2

    def lines(self):
        from astropy.table import Table

        path = Path(__file__).parent.parent / "results" / self.arguments[0] / f"{self.arguments[1]}.ecsv"
        if not path.is_file():
            return [f"Not computed yet: ``docs/make_results.sh`` makes {path.name}."]
        table = Table.read(path)
        rows = [["–" if cell == "-" else re.sub(r"([*|`_\\])", r"\\\1", str(cell)) for cell in row] for row in table]
        header = ("Claim", "Section", "The paper", "Here", "Why they differ")
        return list_table(header, rows, "20 9 17 27 27")


class ControlsTable(RegistryTable):
    """Table of the number of mocks from which diagnostics detect controls, written by ``clusterpost validate``."""

    required_arguments = 1

    def lines(self):
        from astropy.table import Table

        path = Path(__file__).parent.parent / "results" / self.arguments[0] / "controls.ecsv"
        if not path.is_file():
            return [f"Not computed yet: ``docs/make_results.sh`` makes {path.name}."]
        table = Table.read(path)
        names = {name: name for name in table.colnames if name != "control"} | {"n_kinds": "kinds that catch it"}
        rows = [(label, *("–" if cell == "not caught" else str(cell) for cell in table[name]))
                for name, label in names.items()]
        alarms = [share * n for of in table.meta["shares"]["none"].values()
                  for share, n in zip(of, table.meta["trials"], strict=True)]
        trials = sum(table.meta["trials"]) * (len(names) - 1)
        widths = " ".join(["16"] + [str(84 // len(table))] * len(table))
        made = table.meta
        return [*list_table(("Diagnostic", *table["control"]), rows, widths), "",
                f"{made['n_draws']} draws per mock; numbers of mocks: {', '.join(f'{n:,}' for n in made['sizes'])}.",
                f"{100 * made['bimodal']:.1f} % of mocks have two modes, of which one is dropped.",
                f"False alarms for exact posteriors: {round(sum(alarms))} in {trials} tests at the level of "
                f"{100 * made['level']:g} %."]


def affine_table(card):
    """Return hyperparameters beside those of Table A.1 of Walter et al. (2025)."""
    network, training = card["architecture"], card["training"]
    settings = training["settings"]
    rows = [
        ("Coupling blocks", "[4, 21]", "12", len(network["permutations"])),
        ("Hidden layers of a subnetwork", "–", "2", network["depth"]),
        ("Neurons per layer", "[128, 2048]", "256", network["width"]),
        ("Activation", "–", "ReLU", "ReLU"),
        ("Initial learning rate", "[1e-5, 1e-2]", "0.001876", settings["learning_rate"]),
        ("Learning rate decay", "[0.1, 0.9]", "0.6637", settings["learning_rate_decay"]),
        ("β₁, β₂ of Adam", "(0.8, 0.8) or (0.9, 0.999)", "(0.9, 0.999)", tuple(settings["betas"])),
        ("Batch size", "[64, 1024]", "512", settings["batch_size"]),
        ("η (L2)", "[1e-7, 1e-4]", "1.353e-6", settings["l2"]),
        ("Mocks", "–", "5e6, seen repeatedly", f"{training['mocks_seen']:,}, each seen once"),
    ]
    return list_table(("Hyperparameter", "The paper's search range", "The paper", "Here"), rows, "30 25 20 25")


def spline_table(card):
    """Return the size of each block and the training settings."""
    network, training = card["architecture"], card["training"]
    blocks = [(f"Block of {card['learned'][i]}", f"{network['depth'][k]} residual blocks of {network['width'][k]} "
               f"neurons (SiLU); {network['splines'][k]} spline(s) of {network['bins'][k]} bins")
              for k, i in enumerate(network["order"])]
    settings = training["settings"]
    context = [("Context of the conditions",
                f"{network['context_depth']} residual blocks of {network['context']} neurons"),
               ("Coordinates", ", ".join(f"{name} {text}" for name, text in
                                         zip(card["learned"], network["coordinates"], strict=True)))
               ] if "context" in network else []
    rows = [
        *blocks, *context,
        ("Embedding of a given parameter", f"piecewise linear, {network['knots']} intervals"),
        ("Conditions", network["n_conditions"]),
        ("Optimizer", f"{settings['optimizer']}, learning rate {settings['learning_rate']:g}, {settings['schedule']}"),
        ("Batch size", settings["batch_size"]),
        ("Objective", ", ".join(f"{name} {value}".removeprefix("name ")
                                for name, value in training["objective"].items())),
    ]
    return list_table(("Network", ""), rows, "35 65")


def training_record(card):
    """Return rows of the training record in the card, earlier stages first."""
    training = card["training"]
    stages, earlier = [], training.get("started_from")
    while earlier:
        stages.insert(0, earlier)
        earlier = earlier.get("started_from")
    rows = [("Weights", f"{card['n_weights']:,}")]
    rows += [(f"Stage {i + 1}", f"{stage['mocks_seen']:,} mocks, {stage['hours']:.2f} hours; {stage.get('remark', '')}")
             for i, stage in enumerate(stages)]
    settings = training["settings"]
    return [
        *rows,
        ("Mocks" if not stages else "Mocks of the last stage", f"{training['mocks_seen']:,}, each seen once"),
        ("Weights kept", f"of the best validation, after {training['weights_after_mocks']:,} mocks"),
        ("Hardware", training["hardware"]),
        ("Time", f"{training['hours']:.2f} hours"),
        ("Finished", training["finished"]),
        ("Stopped early", "yes" if training["stopped_early"] else "no"),
        *([("Returns to the best weights", training["returns_to_best"])] if training.get("returns_to_best") else []),
        ("Validation NLL (best of the run)", f"{training['validation_nll']:.4f}"),
        (f"Test NLL ({training['n_test']:,} other mocks)", f"{training['test_nll']:.4f}"),
        ("Unit of the NLL", training["nll_unit"]),
        ("Seed", settings.get("seed", 0)),
        ("Versions", ", ".join(f"{name} {version}" for name, version in training["versions"].items())),
        *([("Note", training["note"])] if "note" in training else []),
        ("sha256", f"``{card['sha256']}``"),
    ]


class Commands(RegistryTable):
    """Help texts of the command line."""

    def lines(self):
        import os

        from clusterpost.arguments import make_parser
        from clusterpost.cli import CALLS

        os.environ["COLUMNS"] = "84"  # fits beside both sidebars
        parser = make_parser(CALLS)
        lines = []
        for name, sub in parser._subparsers._group_actions[0].choices.items():
            text = sub.format_help()
            lines += [f"clusterpost {name}", "-" * (12 + len(name)), "", ".. code-block:: none", "",
                      *(f"   {line}".rstrip() for line in text.splitlines()), ""]
        return lines


class BibTeX(RegistryTable):
    """References of a result of the default model."""

    def lines(self):
        text = clusterpost.cite()
        return [".. code-block:: bibtex", "", *(f"   {line}".rstrip() for line in text.splitlines())]


class Folded(Directive):
    """Content that opens on a click; the argument is its summary line."""

    required_arguments = 1
    final_argument_whitespace = True
    has_content = True

    def run(self):
        inside = nodes.container(classes=["folded"])
        self.state.nested_parse(self.content, self.content_offset, inside)
        head = nodes.raw("", f"<details><summary>{escape(self.arguments[0])}</summary>", format="html")
        return [head, inside, nodes.raw("", "</details>", format="html")]


def setup(app):
    app.add_directive("clusterpost-bands", Bands)
    app.add_directive("clusterpost-flags", Flags)
    app.add_directive("clusterpost-output-columns", OutputColumns)
    app.add_directive("clusterpost-model-card", ModelCard)
    app.add_directive("clusterpost-certificate", Certificate)
    app.add_directive("clusterpost-claims", ClaimsTable)
    app.add_directive("clusterpost-controls", ControlsTable)
    app.add_directive("clusterpost-commands", Commands)
    app.add_directive("clusterpost-bibtex", BibTeX)
    app.add_directive("folded", Folded)
    return {"version": "1", "parallel_read_safe": True}
