"""Sums up how much each stage of a run did, and how fast. It gets rows, and reads no catalog."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import msgspec

from pypimirror.catalog import states
from pypimirror.domain.documents import Speed, StageBatch, StageTotal, iso
from pypimirror.domain.model import Stage

if TYPE_CHECKING:
    from pypimirror.catalog.records import StageRecord

#: Which counts of a stage are files, and which are bytes. The sums are shown.
_FILES: dict[str, tuple[str, ...]] = {
    Stage.DISCOVER: ("files_found",),
    Stage.DOWNLOAD: ("files_downloaded",),
    Stage.VERIFY: ("files_verified", "files_checked"),
}
_BYTES: dict[str, tuple[str, ...]] = {
    Stage.DOWNLOAD: ("bytes_downloaded",),
    Stage.VERIFY: ("bytes_verified", "bytes_checked"),
}
#: States from the worst to the best: a stage shows the worst state of its batches.
_WORST = (
    states.CRASHED, states.FAILED, states.CANCELLED, states.RUNNING, states.COMPLETED,
)  # fmt: skip

_decode_counts = msgspec.json.Decoder(dict[str, int]).decode


def batch(row: StageRecord) -> StageBatch:
    """Return one stage of one batch as JSON shows it."""
    seconds = None if row.ended_at is None else max(0.0, row.ended_at - row.started_at)
    counts = _decode_counts(row.counts) if row.counts else {}
    return {
        "stage": row.stage,
        "batch": row.batch,
        "state": row.state,
        "started_at": row.started_at,
        "started_at_iso": iso(row.started_at),
        "ended_at": row.ended_at,
        "ended_at_iso": iso(row.ended_at),
        "seconds": None if seconds is None else round(seconds, 3),
        "counts": counts,
        **_speed(row.stage, counts, seconds),
    }


def of(batches: Sequence[StageBatch]) -> list[StageTotal]:
    """Sum up the batches of each stage. A second counts once if any batch was in the stage."""
    found = []
    for stage in Stage:
        own = [each for each in batches if each["stage"] == stage]
        if own:
            found.append(_total(stage, own))
    return found


def _total(stage: Stage, batches: Sequence[StageBatch]) -> StageTotal:
    counts: Counter[str] = Counter()
    for each in batches:
        counts.update(each["counts"])
    ends = [each["ended_at"] for each in batches if each["ended_at"] is not None]
    seconds = busy((b["started_at"], b["ended_at"]) for b in batches if b["ended_at"] is not None)
    reached = {each["state"] for each in batches}
    started = min(each["started_at"] for each in batches)
    ended = max(ends) if len(ends) == len(batches) else None
    return {
        "stage": stage.value,
        "batches": len(batches),
        "state": next((state for state in _WORST if state in reached), states.COMPLETED),
        "started_at": started,
        "started_at_iso": iso(started),
        "ended_at": ended,
        "ended_at_iso": iso(ended),
        "seconds": round(seconds, 3),
        "counts": dict(counts),
        **_speed(stage, counts, seconds),
    }


def busy(spans: Iterable[tuple[float, float]]) -> float:
    """Return the seconds that at least one of these spans, (start, end), covers."""
    covered, until = 0.0, float("-inf")
    for start, end in sorted(spans):
        covered += max(0.0, end - max(start, until))
        until = max(until, end)
    return covered


def _speed(stage: str, counts: dict[str, int], seconds: float | None) -> Speed:
    files = sum(counts.get(name, 0) for name in _FILES.get(stage, ()))
    size = sum(counts.get(name, 0) for name in _BYTES.get(stage, ()))
    return {
        "files": files,
        "bytes": size,
        "files_per_second": round(files / seconds, 3) if seconds else None,
        "bytes_per_second": round(size / seconds) if seconds else None,
    }
