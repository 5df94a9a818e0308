// A server on the `@modelcontextprotocol/server` package whose tool becomes a task of
// `io.modelcontextprotocol/tasks`. The package knows no such tasks: they are methods of our own to it.
// Its argument is a directory that has the package in its node_modules.

const installed = (name) => require(require.resolve(name, { paths: [process.argv[2]] }));
const { McpServer, ProtocolError } = installed("@modelcontextprotocol/server");
const { serveStdio } = installed("@modelcontextprotocol/server/stdio");
const { z } = installed("zod");

const TAKES = 300;
const tasks = new Map();

const find = (id) => {
  if (!tasks.has(id)) throw new ProtocolError(-32602, "there is no such task");
  return tasks.get(id);
};

const described = (id) => {
  const task = find(id);
  const isDone = Date.now() - task.began > TAKES;
  const now = "2026-07-28T12:00:00Z";
  return {
    taskId: id,
    status: task.isCancelled ? "cancelled" : !task.title ? "input_required" : isDone ? "completed" : "working",
    createdAt: now,
    lastUpdatedAt: now,
    ttlMs: 60_000,
    pollIntervalMs: 100,
  };
};

function makeServer() {
  const extensions = { "io.modelcontextprotocol/tasks": {} };
  const { server } = new McpServer(
    { name: "interop-node-tasks", version: "1.0.0" },
    { capabilities: { tools: {}, extensions } },
  );
  const tool = (name) => ({ name, inputSchema: { type: "object" } });
  server.setRequestHandler("tools/list", () => ({ tools: [tool("report"), tool("echo")] }));
  server.setRequestHandler("tools/call", ({ params: { name, arguments: given } }) => {
    if (name === "echo") return { content: [{ type: "text", text: given.message }] };
    const id = `task-${tasks.size + 1}`;
    tasks.set(id, {});
    return { resultType: "task", ...described(id) };
  });
  const params = z.looseObject({ taskId: z.string() });
  server.setRequestHandler("tasks/get", { params }, ({ taskId }) => {
    const state = described(taskId);
    const requestedSchema = { type: "object", properties: { title: { type: "string" } } };
    const asked = { mode: "form", message: "Which title?", requestedSchema };
    if (state.status === "input_required") {
      state.inputRequests = { title: { method: "elicitation/create", params: asked } };
    }
    if (state.status === "completed") {
      const text = `${find(taskId).title} is ready`;
      state.result = { content: [{ type: "text", text }] };
    }
    return state;
  });
  server.setRequestHandler("tasks/update", { params }, ({ taskId }, { mcpReq }) => {
    const task = find(taskId);
    task.title = mcpReq.inputResponses.title.content?.title ?? "Nothing";
    task.began = Date.now();
    return {};
  });
  server.setRequestHandler("tasks/cancel", { params }, ({ taskId }) => {
    find(taskId).isCancelled = true;
    return {};
  });
  return server;
}

serveStdio(makeServer);
