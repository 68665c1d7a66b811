"""Headers in, decisions out: no asyncio, no framework, no clock, no socket."""
