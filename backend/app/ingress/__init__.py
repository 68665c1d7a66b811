"""The zero-copy receiver: uvicorn's protocol hardened, and request bodies delivered slab by slab."""
