"""Where a hub's log is when nobody says."""

from pathlib import Path


def default_folder() -> Path:
    """Return the data folder of this user's own."""
    # Of the `cli` extra's libraries the last that a hub needs; help does not wait for it.
    import platformdirs

    return platformdirs.user_data_path("tidings", appauthor=False)
