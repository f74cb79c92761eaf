"""The way of events to the hub: pending events, claims, and the thread that sends them."""
