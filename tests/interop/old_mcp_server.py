"""A server on an old `mcp`.

Over stdio, on 1.6, it ignores `server/discover`, and dies of a `ping` before `initialize`; it appends a line
to the file it is told of whenever it starts. Told `http` or `sse` instead, it says on which port it listens.
"""

import socket
import sys

from mcp.server.fastmcp import Context, FastMCP

server = FastMCP("interop-old-python", instructions="Add numbers, or count.")


@server.tool()
def add(a: int, b: int) -> int:
    """Adds two numbers."""
    return a + b


@server.tool()
def fail() -> str:
    """Always fails."""
    raise ValueError("this tool always fails")


@server.tool()
async def count(steps: int, ctx: Context) -> str:
    """Counts, and tells of every step."""
    for step in range(1, steps + 1):
        await ctx.info(f"step {step}")
        await ctx.report_progress(step, steps)
    return f"counted to {steps}"


@server.resource("memo://hello")
def hello() -> str:
    """A text."""
    return "Hello from old Python."


@server.resource("memo://square/{n}")
def square(n: str) -> str:
    """The square of a number."""
    return str(int(n) ** 2)


@server.prompt()
def greeting(name: str) -> str:
    """Greets somebody."""
    return f"Please greet {name}."


def listen(app):
    import uvicorn

    listener = socket.create_server(("127.0.0.1", 0))
    print(f"listening on {listener.getsockname()[1]}", flush=True)
    uvicorn.Server(uvicorn.Config(app, log_level="critical")).run(sockets=[listener])


if __name__ == "__main__":
    if sys.argv[1:] == ["http"]:
        sys.exit(listen(server.streamable_http_app()))
    if sys.argv[1:] == ["sse"]:
        sys.exit(listen(server.sse_app()))
    if len(sys.argv) > 1:
        with open(sys.argv[1], "a", encoding="utf-8") as starts:
            starts.write("started\n")
    server.run("stdio")
