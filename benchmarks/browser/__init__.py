"""Benchmarks of the dashboard in Chromium; `node benchmarks/browser/main.ts --help` lists them."""
