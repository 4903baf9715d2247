"""Inference of a catalog in chunks, which are kept on disk until they are combined into one file."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from typing import TYPE_CHECKING

from filelock import Timeout

from ..errors import InputError
from ..utils import exclusive, progress_bar, remove_leftovers, require, to_disk, whole_file
from .job import differences
from .output import write_rows

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from .chunks import ParquetSource
    from .job import Job

__all__ = ["claim", "run"]


def run(job: Job, source: ParquetSource, target: Path, digests: Sequence[str], *, progress: bool | None = None,
        wait: bool = False) -> None:
    """Infer a catalog, reusing chunks finished by an earlier run.

    Parameters
    ----------
    job : Job
    source : ParquetSource or TableSource
    target : `~pathlib.Path`
        Output file, created once it is complete; until then, finished chunks
        are in the folder ``<target>.parts``.
    digests : sequence of str
        Digests of the chunks of the source.
    progress : bool, optional
    wait : bool
        Whether to wait for another process with the same target, and return if
        it finished the same job.

    Raises
    ------
    InputError
        If another process has this target, or the folder belongs to another job.
    """
    folder = target.with_name(f"{target.name}.parts")
    try:
        with exclusive(target.with_name(f".{folder.name}.lock"), wait=wait):
            if wait and _is_finished(job, target, digests):
                remove_leftovers(target)
            else:
                folder.mkdir(exist_ok=True)
                claim(folder / "job.json", job, folder)
                _infer_missing(job, source, folder, digests, progress)
                _assemble(job, _parts(folder, digests), target, digests)
            _clear(folder)
    except Timeout:
        raise InputError(f"another process works in {folder}; wait for its end, or name another output") from None


def _is_finished(job, target, digests) -> bool:
    """Return whether this job wrote the target from rows with these digests."""
    pyarrow, parquet = require("pyarrow", "scale"), require("pyarrow.parquet", "scale")
    try:
        found = (parquet.read_schema(target).metadata or {}).get(b"clusterpost")
    except (OSError, pyarrow.ArrowInvalid):
        return False
    return found == _whole_fingerprint(job, digests)


def claim(record: Path, job: Job, folder: Path) -> None:
    """Write the record of a job, or check that the existing record is of the same job.

    A record left unreadable by a crash is replaced, because every result has its
    own fingerprint.
    """
    try:
        before = json.loads(record.read_text())
        if not isinstance(before, dict):
            raise ValueError
    except (FileNotFoundError, ValueError):
        _write_json(record, job.identity)
        return
    if before != job.identity:
        raise InputError(f"{folder} holds results of another run ({differences(before, job.identity)}); use the "
                         "same options, name another output, or remove that folder")


def _infer_missing(job, source, folder, digests, progress):
    parts = _parts(folder, digests)
    done = {number for number, part in enumerate(parts) if _is_sound(part, job.fingerprint(digests[number]))}
    n_done = sum(min(job.size, source.n_rows - number * job.size) for number in done)
    with progress_bar(source.n_rows, show=progress, desc="inferring", unit="row", initial=n_done) as bar:
        for chunk in source.chunks(skipped=done):
            n_rows = min(job.size, source.n_rows - chunk.start)
            out, part = job.infer(source, chunk), parts[chunk.number]
            with _replaced(part) as fresh:
                write_rows(out, fresh, job.schema)
            _write_json(part.with_suffix(".json"),
                        {"fingerprint": job.fingerprint(chunk.digest), "sha256": _sha256(part)})
            bar.update(n_rows)


def _parts(folder, digests):
    return [folder / f"part-{number:06d}.parquet" for number in range(len(digests))]


def _is_sound(part, fingerprint):
    """Return whether an undamaged part exists, made by this job from these rows."""
    try:
        return json.loads(part.with_suffix(".json").read_text()) == {"fingerprint": fingerprint,
                                                                     "sha256": _sha256(part)}
    except (OSError, ValueError):
        return False


def _sha256(path):
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _assemble(job, parts, target, digests):
    """Combine all parts into one file, written atomically."""
    parquet = require("pyarrow.parquet", "scale")
    schema = job.schema.with_metadata({**job.schema.metadata, b"clusterpost": _whole_fingerprint(job, digests)})
    with whole_file(target) as temporary, parquet.ParquetWriter(temporary, schema) as writer:
        for part in parts:
            writer.write_table(parquet.read_table(part).replace_schema_metadata(schema.metadata))


def _whole_fingerprint(job, digests):
    return job.fingerprint(hashlib.sha256("".join(digests).encode()).hexdigest()).encode()


@contextlib.contextmanager
def _replaced(path):
    """Yield a temporary path that is renamed to this one on success, under the lock of the folder."""
    fresh = path.with_name(f"{path.name}.new")
    yield fresh
    to_disk(fresh)
    os.replace(fresh, path)


def _write_json(path, record):
    with _replaced(path) as fresh:
        fresh.write_text(json.dumps(record, indent=1))


def _clear(folder):
    """Remove the files of this module from the folder, and the folder if it is then empty."""
    for name in ("part-*.parquet", "part-*.json", "*.new", "job.json"):
        for file in folder.glob(name):
            file.unlink(missing_ok=True)
    with contextlib.suppress(OSError):
        folder.rmdir()
