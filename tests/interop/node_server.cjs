// A server on the `@modelcontextprotocol/server` package, with a little of everything that umcp is
// tested against. Its argument is a directory that has the package in its node_modules.

const installed = (name) => require(require.resolve(name, { paths: [process.argv[2]] }));
const { McpServer, ResourceTemplate, completable } = installed("@modelcontextprotocol/server");
const { serveStdio } = installed("@modelcontextprotocol/server/stdio");
const { z } = installed("zod");

const text = (text) => ({ content: [{ type: "text", text }] });

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

serveStdio(makeServer);
