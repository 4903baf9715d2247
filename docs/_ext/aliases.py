"""Link names that a package takes over from its modules, such as ``clusterpost.catalogs.read_legus``.

The pages of the API list each function under the module that defines it.
"""

from importlib import import_module


def defined_as(name):
    """Return the name of a function or class with the module that defines it, or None if this is the same."""
    package, _, last = name.rpartition(".")
    if package.split(".")[0] != "clusterpost":
        return None
    try:
        thing = getattr(import_module(package), last)
        defined = f"{thing.__module__}.{thing.__qualname__}"
    except (ImportError, AttributeError):
        return None
    return None if defined == name else defined


def resolve(app, env, node, content):
    """Resolve a reference to such a name."""
    name = defined_as(node.get("reftarget", "")) if node.get("refdomain") == "py" else None
    if name is not None:
        return env.get_domain("py").resolve_xref(env, node["refdoc"], app.builder, "obj", name, node, content)


def setup(app):
    app.connect("missing-reference", resolve)
    return {"version": "1", "parallel_read_safe": True}
