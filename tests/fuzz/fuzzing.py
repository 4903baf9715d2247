"""What the fuzzers share: how long they run, and what a public call may do with bad input.

By default a few seconds each, with the same examples every time; ``CLUSTERPOST_FUZZ=3000 pytest tests/fuzz`` takes so
many random examples of each.
"""

import contextlib
import os
import warnings

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from clusterpost.errors import InputError

_LONG = os.environ.get("CLUSTERPOST_FUZZ")


def bounded(n_examples):
    """Settings of a fuzzer that takes ``n_examples`` unless the environment asks for more."""
    return settings(max_examples=int(_LONG or n_examples), derandomize=_LONG is None, deadline=None, database=None,
                    suppress_health_check=list(HealthCheck))


@contextlib.contextmanager
def only_input_errors():
    """Let a call end, or stop with a short documented error; anything else fails the test."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            yield
        except InputError as refusal:
            if len(str(refusal)) > 5000:
                raise AssertionError(f"a message of {len(str(refusal))} letters") from refusal


#: Changes of a file's bytes: what is done, where (as a fraction of its length), and with what.
CHANGES = st.lists(st.tuples(st.sampled_from(["set", "cut", "delete", "insert", "repeat", "nine"]), st.floats(0, 1),
                             st.binary(min_size=1, max_size=60)), min_size=1, max_size=4)


def changed(data, changes, end=None):
    """Apply changes to bytes, within their first ``end``."""
    for kind, where, content in changes:
        at = int(where * (min(len(data), end or len(data)) - 1)) if data else 0
        if kind == "set":
            data = data[:at] + content[:1] + data[at + 1 :]
        elif kind == "cut":
            data = data[:at]
        elif kind == "delete":
            data = data[:at] + data[at + 7 * len(content) :]
        elif kind == "insert":
            data = data[:at] + content + data[at:]
        elif kind == "repeat":
            data = data + data[at:]
        else:
            digits = [i for i in range(at, min(at + 500, len(data))) if data[i : i + 1].isdigit()]
            data = data[: digits[0]] + b"9" + data[digits[0] + 1 :] if digits else data
    return data
