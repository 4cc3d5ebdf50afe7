// The OpenAPI document is true: every path answers, and answers are of the document's schemas.
import assert from "node:assert/strict";
import test from "node:test";

import Ajv from "ajv/dist/2020.js";

const url = process.env.OCTET_URL;
const headers = { authorization: `Bearer ${process.env.OCTET_API_KEY}`, "content-type": "application/json" };
const document = await (await fetch(`${url}/openapi.json`)).json();
const ajv = new Ajv({ strict: false });
ajv.addSchema({ $id: "openapi", components: document.components });
const used = new Set();

function check(schema, value, what) {
  const validate = ajv.compile(JSON.parse(JSON.stringify(schema).replaceAll('"#/', '"openapi#/')));
  assert.ok(validate(value), `${what}: ${JSON.stringify(validate.errors)}\n${JSON.stringify(value)}`);
}

async function ask(path, body, { pattern = path, status = 200 } = {}) {
  used.add(pattern);
  const method = body === undefined ? "get" : "post";
  const operation = document.paths[pattern][method];
  const request = operation.requestBody?.content["application/json"].schema;
  if (status === 200 && request) check(request, body, `${path} request`);
  const answer = await fetch(url + path, { method, headers, body: body && JSON.stringify(body) });
  assert.equal(answer.status, status, `${path}: ${await answer.clone().text()}`);
  const type = answer.headers.get("content-type").split(";")[0];
  const contents = (operation.responses[status] ?? operation.responses.default).content;
  assert.ok(contents[type], `${path} answers with ${type}`);
  if (type === "application/json") {
    const json = await answer.json();
    check(contents[type].schema, json, path);
    return json;
  }
  const text = await answer.text();
  if (type !== "text/event-stream") return text;
  const events = text.split("\n\n").filter((event) => event.startsWith("data: {")).map((event) => JSON.parse(event.slice(6)));
  for (const event of events) check(contents[type].schema, event, `${path} event`);
  return events;
}

const messages = [{ role: "user", content: "Once upon a time" }];
const parameters = { type: "object", properties: { city: { type: "string", maxLength: 5 } }, required: ["city"] };
const chat = { messages, max_tokens: 200, seed: 1 };

test("openapi: paths without a body", async () => {
  for (const path of Object.keys(document.paths)) {
    if (document.paths[path].get && !path.includes("{")) await fetchable(path);
  }
  const { data } = await ask("/v1/models");
  await ask(`/v1/models/${data[0].id}`, undefined, { pattern: "/v1/models/{model}" });
  await ask("/v1/models/none", undefined, { pattern: "/v1/models/{model}", status: 404 });
});

async function fetchable(path) {
  const asset = /^\/($|page|icon|ui|text|licences)/.test(path);
  if (!asset) return ask(path);
  used.add(path);  // without Node at build time the page is not there
  const answer = await fetch(url + path);
  assert.ok([200, 404, 503].includes(answer.status), `${path}: ${answer.status}`);
}

test("openapi: chats", async () => {
  const functions = [{ type: "function", function: { name: "weather", parameters } }];
  for (const more of [
    {}, { n: 2, logprobs: true, top_logprobs: 2, max_tokens: 3 }, { octet: { trace: "prompt" }, max_tokens: 3 },
    { response_format: { type: "json_schema", json_schema: { name: "n", schema: parameters } } },
    { tools: functions, tool_choice: "required" }, { tools: functions, tool_choice: "auto", max_tokens: 20 },
    { stop: ["e"], temperature: 0, stream_options: { include_usage: true } },
  ]) {
    await ask("/v1/chat/completions", { ...chat, ...more });
    const events = await ask("/v1/chat/completions", { ...chat, ...more, stream: true });
    assert.ok(events.length > 1);
  }
  await ask("/v1/chat/completions", { messages: [] }, { status: 400 });
});

test("openapi: completions", async () => {
  for (const more of [{}, { echo: true }, { logprobs: 2, n: 2 }, { octet: { trace: true } }, { grammar: 'root ::= "a"' },
    { echo: true, logprobs: 1 }, { echo: true, logprobs: 0, max_tokens: 0 }, { guided_regex: "[a-z ]{1,4}" }]) {
    await ask("/v1/completions", { prompt: "Once", max_tokens: 5, ...more });
    await ask("/v1/completions", { prompt: "Once", max_tokens: 5, ...more, stream: true });
  }
  await ask("/v1/completions", {}, { status: 400 });
});

test("openapi: messages and their count", async () => {
  const tools = [{ name: "weather", input_schema: parameters }];
  const plain = { messages, max_tokens: 5 };
  await ask("/v1/messages", plain);
  await ask("/v1/messages", { ...plain, octet: { top_k: 1 } });
  await ask("/v1/messages", { ...plain, max_tokens: 200, tools, tool_choice: { type: "any" } });
  const { input_tokens: few } = await ask("/v1/messages/count_tokens", { messages });
  const { input_tokens: many } = await ask("/v1/messages/count_tokens", { messages, tools });
  assert.ok(many > few);
  await ask("/v1/messages", { messages }, { status: 400 });
});

test("openapi: responses, embeddings, tokens", async () => {
  await ask("/v1/responses", { input: "Once", max_output_tokens: 5 });
  await ask("/v1/responses", { input: "Once", max_output_tokens: 5, octet: { masked_experts: [0] } });
  const tools = [{ type: "function", name: "weather", parameters }];
  await ask("/v1/responses", { input: "Once", max_output_tokens: 200, tools, tool_choice: "required" });
  await ask("/v1/responses", {}, { status: 400 });
  await ask("/v1/embeddings", { input: ["a", "b"] });
  await ask("/v1/embeddings", { input: "a", encoding_format: "base64" });
  const { tokens } = await ask("/tokenize", { content: "Once" });
  await ask("/tokenize", { content: "Once", with_pieces: true });
  await ask("/detokenize", { tokens });
  await ask("/apply-template", { messages });
});

test("openapi: every path was asked", () => {
  assert.deepEqual([...used].sort(), Object.keys(document.paths).sort());
});
