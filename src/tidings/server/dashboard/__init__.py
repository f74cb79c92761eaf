"""The dashboard: the built files of `dashboard/`, and how the hub serves them."""
