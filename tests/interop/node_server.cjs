// A server on the `@modelcontextprotocol/server` package, with a little of everything that umcp is
// tested against. Its arguments are a directory that has the package in its node_modules, and what
// it serves: stdio, or `http` or `stateless` at $PORT. `http` has sessions in the legacy era.

const { randomUUID } = require("node:crypto");
const { EventEmitter, on } = require("node:events");
const { createServer } = require("node:http");
const { Readable } = require("node:stream");

const installed = (name) => require(require.resolve(name, { paths: [process.argv[2]] }));
const {
  McpServer,
  ResourceTemplate,
  WebStandardStreamableHTTPServerTransport,
  completable,
  createMcpHandler,
  inputRequired,
  inputResponse,
  isLegacyRequest,
} = installed("@modelcontextprotocol/server");
const { serveStdio } = installed("@modelcontextprotocol/server/stdio");
const { z } = installed("zod");

const text = (text) => ({ content: [{ type: "text", text }] });

// For each `wait` that is cancelled there is one `waited`.
const waits = new EventEmitter();
const cancelled = on(waits, "cancelled");

function makeServer() {
  const server = new McpServer(
    { name: "interop-node", version: "1.0.0" },
    { instructions: "Add numbers, or count.", capabilities: { logging: {} } },
  );

  server.registerTool(
    "add",
    {
      description: "Adds two numbers.",
      inputSchema: z.object({ a: z.number(), b: z.number() }),
      outputSchema: z.object({ sum: z.number() }),
    },
    ({ a, b }) => ({ ...text(`${a + b}`), structuredContent: { sum: a + b } }),
  );
  server.registerTool("fail", { description: "Always fails." }, () => {
    throw new Error("this tool always fails");
  });
  server.registerTool(
    "count",
    {
      description: "Counts, and tells of every step.",
      inputSchema: z.object({ steps: z.number().int() }),
    },
    async ({ steps }, { mcpReq }) => {
      const progressToken = mcpReq._meta?.progressToken;
      for (let progress = 1; progress <= steps; progress++) {
        const message = `step ${progress}`;
        await mcpReq.log(progress === steps ? "warning" : "info", message, "counter");
        if (progressToken !== undefined) {
          const params = { progressToken, progress, total: steps, message };
          await mcpReq.notify({ method: "notifications/progress", params });
        }
      }
      return text(`counted to ${steps}`);
    },
  );
  server.registerTool(
    "wait",
    { description: "Tells that it has begun, and waits until it is cancelled." },
    async ({ mcpReq }) => {
      const { progressToken } = mcpReq._meta;
      const params = { progressToken, progress: 1 };
      await mcpReq.notify({ method: "notifications/progress", params });
      await new Promise((resolve) => mcpReq.signal.addEventListener("abort", resolve));
      waits.emit("cancelled");
      return text("cancelled");
    },
  );
  server.registerTool("waited", { description: "Waits until a `wait` is cancelled." }, async () => {
    await cancelled.next();
    return text("cancelled");
  });
  server.registerTool("session", { description: "Names the session." }, ({ sessionId }) =>
    text(`${sessionId}`),
  );
  server.registerTool("grow", { description: "Adds a tool." }, () => {
    server.registerTool(`grown-${randomUUID()}`, {}, () => text("grown"));
    return text("grown");
  });

  // Asks once, whatever the era, and tells what it was answered.
  const asks = (tool, description, question, tell) =>
    server.registerTool(tool, { description }, ({ mcpReq }) => {
      const answer = inputResponse(mcpReq.inputResponses, "question");
      if (answer.kind !== "missing") return text(tell(answer));
      return inputRequired({ inputRequests: { question: question() } });
    });
  const requestedSchema = z.object({ name: z.string() });
  asks(
    "ask",
    "Asks who you are.",
    () => inputRequired.elicit({ message: "Who are you?", requestedSchema }),
    ({ action, content }) => (action === "accept" ? `Hello ${content.name}` : action),
  );
  const messages = [{ role: "user", content: { type: "text", text: "Say something." } }];
  asks(
    "sample",
    "Has a model say something.",
    () => inputRequired.createMessage({ messages, maxTokens: 100 }),
    ({ result }) => result.content.text,
  );
  asks(
    "roots",
    "Lists the roots.",
    () => inputRequired.listRoots(),
    ({ roots }) => roots.map(({ uri }) => uri).join(" "),
  );

  server.registerResource("hello", "memo://hello", { mimeType: "text/plain" }, (uri) => ({
    contents: [{ uri: uri.href, text: "Hello from Node." }],
  }));
  const square = new ResourceTemplate("memo://square/{n}", { list: undefined });
  server.registerResource("square", square, {}, (uri, { n }) => ({
    contents: [{ uri: uri.href, text: `${n ** 2}` }],
  }));

  const names = ["Ada", "Alan", "Barbara"];
  const name = completable(z.string(), (start) => names.filter((name) => name.startsWith(start)));
  server.registerPrompt(
    "greeting",
    { description: "Greets somebody.", argsSchema: z.object({ name }) },
    ({ name }) => ({
      messages: [{ role: "user", content: { type: "text", text: `Please greet ${name}.` } }],
    }),
  );
  return server;
}

// The sessions of the legacy era, by their id.
const sessions = new Map();

async function serveSession(request) {
  const id = request.headers.get("mcp-session-id");
  if (sessions.has(id)) return sessions.get(id).handleRequest(request);
  if (id !== null) return new Response(null, { status: 404 });
  // It refuses what does not begin one.
  const transport = new WebStandardStreamableHTTPServerTransport({
    sessionIdGenerator: randomUUID,
    onsessioninitialized: (id) => void sessions.set(id, transport),
    onsessionclosed: (id) => void sessions.delete(id),
  });
  await makeServer().connect(transport);
  return transport.handleRequest(request);
}

function serveHttp(handle) {
  const server = createServer(async (req, res) => {
    const left = new AbortController();
    res.once("close", () => left.abort());
    const { method, headers } = req;
    const body = method === "POST" ? Readable.toWeb(req) : undefined;
    const signal = left.signal;
    const request = new Request(`http://${headers.host}${req.url}`, {
      method, headers, body, signal, duplex: "half",
    });
    try {
      const response = await handle(request);
      res.writeHead(response.status, Object.fromEntries(response.headers));
      res.flushHeaders();
      for await (const piece of response.body ?? []) res.write(piece);
      res.end();
    } catch {
      res.destroy();
    }
  });
  server.listen(process.env.PORT, "127.0.0.1", () => {
    console.log(`listening on ${server.address().port}`);
  });
}

const modern = createMcpHandler(makeServer, { legacy: "reject" });
const stateless = createMcpHandler(makeServer);
const serve = {
  http: () => serveHttp(async (request) =>
    (await isLegacyRequest(request)) ? serveSession(request) : modern.fetch(request)),
  stateless: () => serveHttp(stateless.fetch),
};
(serve[process.argv[3]] ?? (() => serveStdio(makeServer)))();
