"""Colours of classes, told apart on light and on dark ground, also by most people who see few."""

from __future__ import annotations

import colorsys

_FIRST = (
    "#3b82c4", "#e8743b", "#2fa36b", "#c9499b", "#8e6bbf", "#c9a227", "#17a2b8", "#d1495b", "#7f8c3a", "#9c6644",
)  # fmt: skip
COUNT = 64


def palette(count: int = COUNT) -> list[str]:
    """So many colours as #rrggbb: some chosen, then hues a golden angle apart in three lightnesses."""
    more = []
    for i in range(max(0, count - len(_FIRST))):
        light = (0.45, 0.62, 0.53)[i % 3]
        rgb = colorsys.hls_to_rgb((0.07 + i * 0.38196601) % 1, light, (0.55, 0.5, 0.75)[i % 3])
        more.append("#" + "".join(f"{round(255 * value):02x}" for value in rgb))
    return [*_FIRST, *more][:count]
