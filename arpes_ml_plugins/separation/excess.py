"""Tell that more components are asked for than stand out of the noise.

A separation returns as many as it is asked for. If the data hold fewer, the last is noise, or one
component split in two, with a status that finds nothing wrong with the fit.
"""

from __future__ import annotations

from arpes_ml_plugins.separation.standing_out import standing_out
from arpes_ml_plugins.separation.whiten import Whitened

__all__ = ["excess_notes"]


def excess_notes(data: Whitened, count: int) -> tuple[str, ...]:
    """Note on a blind separation into ``count`` components if fewer stand out of the noise."""
    there = standing_out(data.pixels, count)
    if there >= count:
        return ()
    holds = "1 component stands" if there == 1 else f"{there} components stand"
    return (
        f"no more than {holds} out of the noise, but {count} were asked for: one may be noise or a "
        f"part of another (maps that are proportional count once); see choose_components",
    )
