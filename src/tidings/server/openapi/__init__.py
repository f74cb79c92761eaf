"""The OpenAPI document of a hub."""
