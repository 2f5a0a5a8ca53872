"""Pictures of relevance, with zero in the middle and ranges that a single pixel cannot stretch.

`heatmap` and `overlay` return plain uint8 arrays, `figure` returns a matplotlib ``Figure`` that
belongs to nobody: pyplot is never imported, so nothing global changes and no display is needed.
(In a notebook, ``%matplotlib inline`` makes the returned figure appear below the cell.)

`text_html` and `text_page` show texts with coloured tokens; they need no other package.

Matplotlib comes with the extra ``lrpjax[plot]`` and is imported only when a picture is drawn.

Example:
    >>> import numpy as np
    >>> from lrpjax import plot
    >>> relevance = np.zeros((8, 8, 3))
    >>> relevance[2, 3, 0], relevance[5, 5, 1] = 1.0, -1.0
    >>> picture = plot.heatmap(relevance, percentile=100)
    >>> picture.shape, picture.dtype.name
    ((8, 8, 3), 'uint8')
    >>> picture[0, 0].tolist(), picture[2, 3].tolist(), picture[5, 5].tolist()
    ([255, 255, 255], [127, 0, 0], [0, 0, 76])
"""

from lrpjax.plot.figures import figure
from lrpjax.plot.pictures import heatmap, overlay
from lrpjax.plot.scale import COLOUR_MAPS, colour_map, symmetric_limit
from lrpjax.plot.text import Segment, text_colours, text_html, text_page, text_segments

__all__ = [
    "COLOUR_MAPS",
    "Segment",
    "colour_map",
    "figure",
    "heatmap",
    "overlay",
    "symmetric_limit",
    "text_colours",
    "text_html",
    "text_page",
    "text_segments",
]
