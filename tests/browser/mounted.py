"""A hub in a FastAPI application, below a prefix, as docs/embedding.md mounts it."""

import sys

import uvicorn
from fastapi import FastAPI

from tidings.server.embedding import embedded_hub

hub = embedded_hub()
app = FastAPI(lifespan=hub.lifespan)
app.mount("/ops/tidings", hub)

if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), log_level="warning")
