"""A file inferred part by part: what is there already, what is missing, and all of it put together."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from dataclasses import asdict

from filelock import FileLock, Timeout

from ..errors import InputError
from ..findings import Findings
from ..utils import progress_bar, require
from .columns import write_rows
from .work import differences

__all__ = ["finished", "run"]

def run(work, source, target, digests, *, whole=True, progress=None, wait=False):
    """Infer a catalog part by part, going on with what is there.

    Parameters
    ----------
    work : Work
    source : ParquetSource or TableSource
    target : `~pathlib.Path`
        It appears once it is whole; until then its parts are beside it.
    digests : sequence of str
        Of the pieces of the source.
    whole : bool
        Whether this is all of the catalog, whose findings are to be judged.
    progress : bool, optional
    wait : bool
        For another process that works on the same, and not to complain of it.

    Returns
    -------
    Findings
    """
    folder = target.with_name(f"{target.name}.parts")
    with _alone(folder, wait):
        if wait and (findings := finished(work, target, digests)) is not None:  # by the other process
            _clear(folder)
            return findings
        _claim(folder, work)
        parts = [folder / f"part-{number:06d}.parquet" for number in range(source.n_pieces)]
        records = [_record(part, work.mark(digest)) for part, digest in zip(parts, digests, strict=True)]
        missing = {number for number, record in enumerate(records) if record is None}
        done = sum(record["rows"] for record in records if record)
        with progress_bar(source.n_rows, show=progress, desc="inferring", unit="row", initial=done) as bar:
            for piece in source.pieces(missing):
                tbl = piece.read(work.reading)
                with piece.messages():
                    out, findings = work.on(tbl, piece.start)
                findings = findings.moved(piece.start)
                records[piece.number] = _write_part(out, parts[piece.number], work, digests[piece.number], findings)
                bar.update(len(out))
        findings = Findings()
        for record in records:
            findings += _findings(record["findings"])
        if whole:
            try:
                findings.raise_or_warn(stacklevel=4)
            except InputError:
                _clear(folder)
                raise
        _assemble(parts, records, target, folder, work, digests, findings)
        _clear(folder)
    return findings


def finished(work, target, digests):
    """The findings of a file that this work wrote from these pieces.

    Parameters
    ----------
    work : Work
    target : `~pathlib.Path`
    digests : sequence of str

    Returns
    -------
    Findings or None
        None if there is no such file.
    """
    pyarrow, parquet = require("pyarrow", "scale"), require("pyarrow.parquet", "scale")
    try:
        metadata = parquet.read_schema(target).metadata or {}
        mark, findings = json.loads(metadata[b"clusterpost"])
    except (OSError, pyarrow.ArrowInvalid, KeyError, ValueError):
        return None
    return _findings(findings) if mark == work.mark(_digest_of(digests)) else None


def _findings(record):
    return Findings(**{**record, "columns": tuple(record["columns"])})


def _digest_of(digests):
    return hashlib.sha256("".join(digests).encode()).hexdigest()


@contextlib.contextmanager
def _alone(folder, wait):
    """Have the folder of parts for oneself; it is gone afterwards if it holds nothing more."""
    folder.mkdir(exist_ok=True)
    try:
        with FileLock(folder / ".lock", timeout=-1 if wait else 0):  # the system frees it when a process dies
            yield
    except Timeout:
        raise InputError(f"another process works in {folder}; wait for its end, or name another output") from None
    finally:
        if not (folder / "job.json").exists():
            (folder / ".lock").unlink(missing_ok=True)
            with contextlib.suppress(OSError):
                folder.rmdir()


def _claim(folder, work):
    """Note whose parts these are; those of another job are not touched."""
    place = folder / "job.json"
    if place.exists():
        before = json.loads(place.read_text())
        if before != work.identity:
            raise InputError(f"{folder} holds parts of another run ({differences(before, work.identity)}); go on "
                             "with the same options, name another output, or remove that folder")
        return
    fresh = place.with_name("job.json.new")
    fresh.write_text(json.dumps(work.identity, indent=1))
    os.replace(fresh, place)


def _record(part, mark):
    """The record of a part that is there, undamaged and made from these rows; else None."""
    try:
        record = json.loads(part.with_suffix(".json").read_text())
        with part.open("rb") as file:
            sound = hashlib.file_digest(file, "sha256").hexdigest() == record["sha256"]
        return record if sound and record["mark"] == mark and record["findings"]["rows"] == record["rows"] else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _write_part(out, part, work, digest, findings):
    write_rows(out, part, work.schema)
    record = {"mark": work.mark(digest), "rows": len(out), "findings": asdict(findings),
              "sha256": hashlib.sha256(part.read_bytes()).hexdigest()}
    fresh = part.with_suffix(".json.new")
    fresh.write_text(json.dumps(record))
    os.replace(fresh, part.with_suffix(".json"))
    return record


def _assemble(parts, records, target, folder, work, digests, findings):
    """One file of all parts, which appears whole."""
    parquet = require("pyarrow.parquet", "scale")
    said = json.dumps([work.mark(_digest_of(digests)), asdict(findings)]).encode()
    schema = work.schema.with_metadata({**work.schema.metadata, b"clusterpost": said})
    fresh = folder / "whole.new"
    with parquet.ParquetWriter(fresh, schema) as writer:
        for part, record in zip(parts, records, strict=True):
            rows = parquet.read_table(part)
            if rows.num_rows != record["rows"]:
                raise OSError(f"{part} was changed while the parts were put together; run the same again")
            writer.write_table(rows.cast(work.schema).replace_schema_metadata(schema.metadata))
    with fresh.open("rb+") as file:
        os.fsync(file.fileno())
    os.replace(fresh, target)


def _clear(folder):
    """Remove what this module wrote into the folder, and nothing else."""
    for file in [*folder.glob("part-*.parquet"), *folder.glob("part-*.json"), *folder.glob("*.new"),
                 folder / "job.json"]:
        file.unlink(missing_ok=True)
