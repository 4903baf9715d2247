"""Link names that Sphinx does not find under the name that a docstring uses.

The pages of the API list each function under the module that defines it.  A docstring may name it by a package, such as
``clusterpost.catalogs.read_legus``, by its last part, or as a method of a class that inherits it.  A package without
documentation of its own is linked to its first documented module.
"""

import inspect
from pydoc import locate


def defined_as(name):
    """Return the name of a function, class or method with the module that defines it, or None if this is the same."""
    if name.split(".")[0] != "clusterpost":
        return None
    thing = locate(name)
    if inspect.ismodule(thing) or not hasattr(thing, "__qualname__"):
        return None
    defined = f"{thing.__module__}.{thing.__qualname__}"
    return None if defined == name else defined


def candidates(target, node, objects):
    """Yield full names that the target may stand for, the most probable first."""
    module, owner = node.get("py:module"), node.get("py:class")
    for name in (target, f"{module}.{owner}.{target}", f"{module}.{target}"):
        if (defined := defined_as(name)) is not None:
            yield defined
    ends = [name for name in objects if name.endswith(f".{target}") and name.startswith("clusterpost.")]
    if len({defined_as(name) or name for name in ends}) == 1:
        yield defined_as(ends[0]) or ends[0]
        yield ends[0]
    if target.startswith("clusterpost."):
        yield from (name for name in objects if name.startswith(f"{target}.") and objects[name].objtype == "module")


def resolve(app, env, node, content):
    """Resolve a reference to such a name."""
    if node.get("refdomain") != "py":
        return None
    domain = env.get_domain("py")
    for name in candidates(node.get("reftarget", ""), node, domain.objects):
        if name in domain.objects:
            return domain.resolve_xref(env, node["refdoc"], app.builder, "obj", name, node, content)
    return None


def setup(app):
    app.connect("missing-reference", resolve)
    return {"version": "1", "parallel_read_safe": True}
