"""The zero-copy receiver: uvicorn's protocol hardened, and request bodies delivered slab by slab.

    listener ─▶ wire (bytes) ─▶ protocol (heads, states, endings) ─▶ exchange (ASGI)
                                                                      └▶ body: pump · buffered · fallback

What the application finds in the ASGI scope:
- `scope["extensions"]["forebay.body"]`: the request's body (`app.core.body.RequestBody`);
- `scope["extensions"]["forebay.send_informational"]`: `(status, headers) -> bool`, writes a 1xx response or drops it; HTTP/1.1 only;
- `scope["extensions"]["forebay.request_id"]`: the client's X-Request-Id when it is sane, else a new one; every answer carries it.

On another ASGI server, `Bodies.body_of` makes the body out of `receive`.
"""

from app.ingress.config import IngressConfig, IngressObserver, SilentObserver
from app.ingress.fallback import Bodies, WithBody
from app.ingress.server import IngressServer, make_server

__all__ = [
    "Bodies",
    "IngressConfig",
    "IngressObserver",
    "IngressServer",
    "SilentObserver",
    "WithBody",
    "make_server",
]
