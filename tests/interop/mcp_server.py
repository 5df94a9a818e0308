"""A server on the `mcp` package, with a little of everything that umcp is tested against."""

import sys

from mcp.server import MCPServer
from mcp.server.mcpserver import Context, Image
from mcp_types import Completion, PromptReference

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
        await ctx.report_progress(step, steps, f"step {step}")
    return f"counted to {steps}"


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


if __name__ == "__main__":
    if sys.argv[1:2] == ["http"]:
        server.run("streamable-http", port=int(sys.argv[2]), json_response=True)
    else:
        server.run("stdio")
