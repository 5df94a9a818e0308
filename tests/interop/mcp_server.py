"""A server on the `mcp` package, with a little of everything that umcp is tested against.

Its arguments are what it serves: stdio, or `http` or `sse` at $PORT, and for `https://` the files
with its certificate and its key.
"""

import asyncio
import os
import socket
import sys
from typing import Annotated

import anyio
from mcp.server import MCPServer
from mcp.server.mcpserver import Context, Elicit, Image, ListRoots, Resolve, Sample
from mcp_types import (
    Completion,
    CreateMessageResult,
    ListRootsResult,
    PromptReference,
    SamplingMessage,
    TextContent,
)
from pydantic import BaseModel

server = MCPServer("interop-python", instructions="Add numbers, or count.")

# The smallest PNG there is.
PIXEL = bytes.fromhex(
    "89504e470d0a1a0a0000000d49484452000000010000000108060000001f15c489"
    "0000000d49444154789c6360000002000001e221bc330000000049454e44ae426082"
)


@server.tool()
def add(a: int, b: int) -> int:
    """Adds two numbers."""
    return a + b


@server.tool()
def echo(message: str) -> str:
    """Returns the message."""
    return message


@server.tool()
def fail() -> str:
    """Always fails."""
    raise ValueError("this tool always fails")


@server.tool()
async def count(steps: int, ctx: Context) -> str:
    """Counts, and tells of every step."""
    for step in range(1, steps + 1):
        await ctx.info(f"step {step}")
        await ctx.report_progress(step, steps, f"step {step}")
    return f"counted to {steps}"


# For each `wait` that is cancelled there is one `waited`.
cancelled = anyio.Semaphore(0)


@server.tool()
async def wait(ctx: Context) -> str:
    """Tells that it has begun, and waits until it is cancelled."""
    await ctx.report_progress(1)
    try:
        await anyio.sleep_forever()
    finally:
        cancelled.release()


@server.tool()
async def waited() -> str:
    """Waits until a `wait` is cancelled."""
    await cancelled.acquire()
    return "cancelled"


class Person(BaseModel):
    name: str


def who() -> Elicit[Person]:
    return Elicit("Who are you?", Person)


@server.tool()
def ask(person: Annotated[Person, Resolve(who)]) -> str:
    """Asks the user for a name."""
    return f"Hello {person.name}"


def saying() -> Sample:
    text = TextContent(type="text", text="Say something")
    return Sample([SamplingMessage(role="user", content=text)], max_tokens=10)


@server.tool()
def sample(said: Annotated[CreateMessageResult, Resolve(saying)]) -> str:
    """Asks a model."""
    return said.content.text


def where() -> ListRoots:
    return ListRoots()


@server.tool()
def roots(listed: Annotated[ListRootsResult, Resolve(where)]) -> str:
    """Says on what it may work."""
    return " ".join(str(root.uri) for root in listed.roots)


@server.tool()
async def grow(ctx: Context) -> str:
    """Says that there are other tools."""
    await ctx.session.send_tool_list_changed()
    return "grown"


@server.tool()
def picture() -> Image:
    """Returns one pixel."""
    return Image(data=PIXEL, format="png")


@server.resource("memo://hello")
def hello() -> str:
    """A text."""
    return "Hello from Python."


@server.resource("memo://pixel", mime_type="image/png")
def pixel() -> bytes:
    """A picture."""
    return PIXEL


@server.resource("memo://square/{n}")
def square(n: str) -> str:
    """The square of a number."""
    return str(int(n) ** 2)


@server.prompt()
def greeting(name: str) -> str:
    """Greets somebody."""
    return f"Please greet {name}."


@server.completion()
async def complete(ref, argument, context):
    """Completes the name of the greeting."""
    names = ["Ada", "Alan", "Barbara"]
    if isinstance(ref, PromptReference) and argument.name == "name":
        return Completion(values=[n for n in names if n.startswith(argument.value)])
    return None


def serve_http(app, certificate=None, key=None):
    """Listens on this machine, and prints the port."""
    import uvicorn

    listener = socket.create_server(("127.0.0.1", int(os.environ["PORT"])))
    print(f"listening on {listener.getsockname()[1]}", flush=True)
    config = uvicorn.Config(
        app, log_level="warning", ssl_certfile=certificate, ssl_keyfile=key
    )
    asyncio.run(uvicorn.Server(config).serve(sockets=[listener]))


if __name__ == "__main__":
    serves, files = sys.argv[1:2], sys.argv[2:]
    if serves == ["http"]:
        serve_http(server.streamable_http_app(), *files)
    elif serves == ["sse"]:
        serve_http(server.sse_app(), *files)
    else:
        server.run("stdio")
