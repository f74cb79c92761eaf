"""Operations in notebooks. An operation that a cell displays stays up to date, whichever cell it continues in.

::

    op = tidings.start("Import prices", total=len(rows))
    op

Notebooks find the display through the operation itself; no import is needed. See `tidings.producer.notebook`.
"""

from tidings.producer.notebook import bundle_of, html, plain, show

__all__ = ["bundle_of", "html", "plain", "show"]
