"""The key that each of our plugins adds to Axolotl's."""

from __future__ import annotations

from pydantic import BaseModel, Field


class WatchedArgs(BaseModel):
    """See `solar_plugins.watch.rows`."""

    max_dropped_share: float | None = Field(
        default=None,
        ge=0,
        le=1,
        description=(
            "Warn where a larger share of the rows than this is not trained (too long, no answer, "
            "filtered); 0.1 where it is not written."
        ),
    )
