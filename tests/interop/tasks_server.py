"""A server on the `mcp` package whose tool becomes a task of `io.modelcontextprotocol/tasks`, which is
written against the package's own interface for extensions."""

import itertools
import time

import anyio
from mcp.server import MCPServer
from mcp.server.extension import Extension, MethodBinding
from mcp.shared.exceptions import MCPError
from mcp_types import RequestParams

ID = "io.modelcontextprotocol/tasks"
TAKES = 0.3


class TaskParams(RequestParams):
    task_id: str


class UpdateParams(TaskParams):
    input_responses: dict


class Tasks(Extension):
    identifier = ID

    def __init__(self):
        self.tasks = {}
        self.ids = itertools.count(1)

    def methods(self):
        versions = frozenset({"2026-07-28"})
        return [
            MethodBinding("tasks/get", TaskParams, self.get, versions),
            MethodBinding("tasks/update", UpdateParams, self.update, versions),
            MethodBinding("tasks/cancel", TaskParams, self.cancel, versions),
        ]

    async def intercept_tool_call(self, params, ctx, call_next):
        if params.name != "report":
            return await call_next(ctx)
        task_id = f"task-{next(self.ids)}"
        self.tasks[task_id] = {"began": None, "title": None, "cancelled": False}
        return {"resultType": "task", **self.described(task_id)}

    def find(self, task_id):
        if task_id not in self.tasks:
            raise MCPError(-32602, "there is no such task")
        return self.tasks[task_id]

    def described(self, task_id):
        task = self.find(task_id)
        if task["cancelled"]:
            status = "cancelled"
        elif task["title"] is None:
            status = "input_required"
        else:
            status = "completed" if time.monotonic() - task["began"] > TAKES else "working"
        now = "2026-07-28T12:00:00Z"
        return {"taskId": task_id, "status": status, "createdAt": now, "lastUpdatedAt": now,
                "ttlMs": 60_000, "pollIntervalMs": 100}

    async def get(self, ctx, params):
        state = self.described(params.task_id)
        if state["status"] == "input_required":
            schema = {"type": "object", "properties": {"title": {"type": "string"}}}
            asked = {"mode": "form", "message": "Which title?", "requestedSchema": schema}
            state["inputRequests"] = {"title": {"method": "elicitation/create", "params": asked}}
        if state["status"] == "completed":
            text = f"{self.tasks[params.task_id]['title']} is ready"
            state["result"] = {"content": [{"type": "text", "text": text}]}
        return {"resultType": "complete", **state}

    async def update(self, ctx, params):
        task = self.find(params.task_id)
        answer = params.input_responses["title"]
        task["title"] = answer.get("content", {}).get("title", "Nothing")
        task["began"] = time.monotonic()
        return {"resultType": "complete"}

    async def cancel(self, ctx, params):
        self.find(params.task_id)["cancelled"] = True
        return {"resultType": "complete"}


server = MCPServer("interop-tasks", extensions=[Tasks()])


@server.tool()
def report() -> str:
    """Writes a report."""
    return "at once"


@server.tool()
def echo(message: str) -> str:
    """Returns the message."""
    return message


anyio.run(server.run_stdio_async)
