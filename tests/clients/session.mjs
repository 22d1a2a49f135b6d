// One session of the protocol's TypeScript client through the bridge; prints what it saw as JSON.
import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { StdioClientTransport } from "@modelcontextprotocol/sdk/client/stdio.js";

const [command, ...args] = JSON.parse(process.argv[2]);
const transport = new StdioClientTransport({ command, args, env: process.env });
const client = new Client({ name: "session", version: "1" });
await client.connect(transport);
const seen = { tools: (await client.listTools()).tools.map((tool) => tool.name) };

const call = (name, given, options) => client.callTool({ name, arguments: given }, undefined, options);
seen.grep = (await call("rlm_grep", { pattern: "reticulate" })).content[0].text;
const failure = await call("rlm_read", { path: "nowhere" });
seen.error = [failure.isError, failure.content[0].text];

const endless = { code: "while True: pass", timeout_s: 60 };
const stop = new AbortController();
setTimeout(() => stop.abort(), 500);
seen.cancelled = await call("rlm_exec", endless, { signal: stop.signal }).catch((error) => error.name + error.message);
seen.timeout = await call("rlm_exec", endless, { timeout: 500 }).catch((error) => error.message);

let told = 0;
const patient = { timeout: 7000, resetTimeoutOnProgress: true, onprogress: () => { told += 1; } };
const slow = await call("rlm_exec", { code: "while True: pass", timeout_s: 12 }, patient);
seen.progress = [told, slow.isError ?? false];
seen.status = (await call("rlm_status", {})).structuredContent.state;
await client.close();
console.log(JSON.stringify(seen));
