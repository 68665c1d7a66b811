"""A process whose event loop does nothing but measure its own delay, as the server does: what the machine itself takes.

A virtual machine's host may take its processors for 100 ms; every loop is late then, and the kernel in it does not
count that as waiting. Prints the longest block in milliseconds when its input ends.
"""

from __future__ import annotations

import asyncio
import sys

from app.observability.loop_lag import LoopLag

_FOREVER_S = 1e9


async def _main() -> None:
    lag = LoopLag(window_s=_FOREVER_S)
    async with asyncio.TaskGroup() as tasks:
        measuring = tasks.create_task(lag.run())
        await asyncio.to_thread(sys.stdin.read)
        measuring.cancel()
    print(lag.blocked_max_s * 1000)


if __name__ == "__main__":
    asyncio.run(_main())
