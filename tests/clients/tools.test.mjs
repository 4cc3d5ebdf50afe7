// Tools and formats of answers, through published clients.
import assert from "node:assert/strict";
import test from "node:test";

import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import Anthropic from "@anthropic-ai/sdk";
import { ChatOpenAI } from "@langchain/openai";
import { Mistral } from "@mistralai/mistralai";
import { generateObject, generateText, jsonSchema, streamText, tool } from "ai";
import OpenAI from "openai";

const url = process.env.OCTET_URL;
const key = process.env.OCTET_API_KEY;
const openai = new OpenAI({ baseURL: `${url}/v1`, apiKey: key, maxRetries: 0 });
const anthropic = new Anthropic({ baseURL: url, apiKey: key, maxRetries: 0 });
const model = (await openai.models.list()).data[0].id;
const messages = [{ role: "user", content: "Once upon a time" }];
const parameters = {
  type: "object",
  properties: { city: { type: "string", maxLength: 12 }, days: { type: "integer", minimum: 1, maximum: 9 } },
  required: ["city", "days"],
  additionalProperties: false,
};
const tools = [
  { type: "function", function: { name: "weather", description: "Tells the weather.", parameters } },
  { type: "function", function: { name: "clock", parameters: { type: "object", properties: {} } } },
];
const ask = { model, messages, max_tokens: 200, seed: 3 };

function checkArguments(name, text) {
  const value = typeof text === "string" ? JSON.parse(text) : text;
  if (name === "clock") return assert.deepEqual(value, {});
  assert.equal(name, "weather");
  assert.deepEqual(Object.keys(value), ["city", "days"]);
  assert.ok(value.days >= 1 && value.days <= 9 && [...value.city].length <= 12);
}

test("openai: a tool that must be called, whole and streamed", async () => {
  const options = { ...ask, tools, tool_choice: "required" };
  const whole = await openai.chat.completions.create(options);
  const [choice] = whole.choices;
  assert.equal(choice.finish_reason, "tool_calls");
  assert.equal(choice.message.content, null);
  assert.ok(choice.message.tool_calls.length >= 1);
  for (const call of choice.message.tool_calls) {
    assert.equal(call.type, "function");
    checkArguments(call.function.name, call.function.arguments);
  }
  // The client puts the pieces together, and checks their shapes.
  const stream = openai.chat.completions.stream(options);
  let pieces = 0;
  stream.on("tool_calls.function.arguments.delta", () => ++pieces);
  const streamed = await stream.finalChatCompletion();
  const plain = (calls) => calls.map((c) => [c.function.name, c.function.arguments]);
  assert.deepEqual(plain(streamed.choices[0].message.tool_calls), plain(choice.message.tool_calls));
  assert.equal(streamed.choices[0].finish_reason, "tool_calls");
  assert.ok(pieces > 1);
  assert.equal(new Set(choice.message.tool_calls.map((c) => c.id)).size, choice.message.tool_calls.length);
});

test("openai: a named tool, one call, and the turn after it", async () => {
  const first = await openai.chat.completions.create({
    ...ask, tools, tool_choice: { type: "function", function: { name: "weather" } },
    parallel_tool_calls: false,
  });
  const { message } = first.choices[0];
  assert.equal(message.tool_calls.length, 1);
  assert.equal(message.tool_calls[0].function.name, "weather");
  const second = await openai.chat.completions.create({
    ...ask, tools, tool_choice: "none", max_tokens: 8,
    messages: [...messages, message, { role: "tool", tool_call_id: message.tool_calls[0].id, content: "sun" }],
  });
  assert.ok(second.choices[0].message.content.length > 0);
  assert.equal(second.choices[0].message.tool_calls, undefined);
});

test("openai: tools the model may call leave text as it is", async () => {
  const options = { ...ask, tools, temperature: 0, max_tokens: 12 };
  const whole = await openai.chat.completions.create(options);
  const stream = await openai.chat.completions.create({ ...options, stream: true });
  let text = "";
  for await (const chunk of stream) text += chunk.choices[0]?.delta?.content ?? "";
  if (whole.choices[0].message.tool_calls === undefined) {
    assert.equal(text, whole.choices[0].message.content);
    assert.equal(whole.choices[0].finish_reason, "length");
  }
});

test("openai: JSON objects, schemas and grammars", async () => {
  const object = await openai.chat.completions.create({
    ...ask, temperature: 1, response_format: { type: "json_object" }, n: 3, max_tokens: 60,
  });
  for (const choice of object.choices) {
    assert.equal(typeof JSON.parse(choice.message.content), "object");
    assert.equal(choice.finish_reason, "stop");
  }
  const response_format = { type: "json_schema", json_schema: { name: "w", strict: true, schema: parameters } };
  const parsed = await openai.chat.completions.parse({ ...ask, response_format });
  checkArguments("weather", parsed.choices[0].message.parsed ?? parsed.choices[0].message.content);
  const grammar = await openai.completions.create({
    model, prompt: "Once", max_tokens: 20, grammar: 'root ::= " " ("yes" | "no") "!"{2}',
  });
  assert.match(grammar.choices[0].text, /^ (yes|no)!!$/);
  const chosen = await openai.chat.completions.create({ ...ask, guided_choice: ["red", "green"] });
  assert.match(chosen.choices[0].message.content, /^(red|green)$/);
  const regex = await openai.chat.completions.create({ ...ask, guided_regex: '\\d{3}-[a-f]{2} "\\w+"' });
  assert.match(regex.choices[0].message.content, /^\d{3}-[a-f]{2} "\w+"$/);
  await assert.rejects(
    openai.completions.create({ model, prompt: "x", grammar: "root ::= (" }), OpenAI.BadRequestError,
  );
});

test("openai: responses with a schema, and with tools", async () => {
  const response = await openai.responses.create({
    model, input: "Once", max_output_tokens: 80,
    text: { format: { type: "json_schema", name: "w", schema: parameters, strict: true } },
  });
  checkArguments("weather", response.output_text);
  assert.equal(response.status, "completed");
  const options = {
    model, input: "Once", max_output_tokens: 200, tool_choice: "required",
    tools: [{ type: "function", name: "weather", parameters, strict: true }],
  };
  const called = await openai.responses.create(options);
  assert.equal(called.output[0].type, "function_call");
  checkArguments(called.output[0].name, called.output[0].arguments);
  const stream = openai.responses.stream(options);
  let pieces = "";
  stream.on("response.function_call_arguments.delta", (event) => {
    if (event.output_index === 0) pieces += event.delta;
  });
  const streamed = await stream.finalResponse();
  assert.equal(streamed.output[0].arguments, pieces);
  checkArguments("weather", pieces);
  const next = await openai.responses.create({
    model, max_output_tokens: 5,
    input: [{ role: "user", content: "Once" }, called.output[0],
      { type: "function_call_output", call_id: called.output[0].call_id, output: "sun" }],
  });
  assert.ok(next.output_text.length > 0);
});

test("anthropic: tools, whole and streamed, and the turn after", async () => {
  const options = {
    model, messages, max_tokens: 200, tool_choice: { type: "any", disable_parallel_tool_use: true },
    tools: [{ name: "weather", description: "Tells the weather.", input_schema: parameters }],
  };
  const whole = await anthropic.messages.create(options);
  assert.equal(whole.stop_reason, "tool_use");
  const use = whole.content.find((block) => block.type === "tool_use");
  checkArguments(use.name, use.input);
  const stream = anthropic.messages.stream(options);
  let pieces = "";
  stream.on("inputJson", (piece) => { pieces += piece; });
  const final = await stream.finalMessage();
  assert.equal(final.stop_reason, "tool_use");
  checkArguments(final.content[0].name, final.content[0].input);
  // How many pieces these were is a matter of speed: what fast steps yield is told together.
  assert.deepEqual(JSON.parse(pieces), final.content[0].input);
  const next = await anthropic.messages.create({
    ...options, tool_choice: { type: "none" }, max_tokens: 5,
    messages: [...messages, { role: "assistant", content: whole.content },
      { role: "user", content: [{ type: "tool_result", tool_use_id: use.id, content: "sun" }] }],
  });
  assert.equal(next.content[0].type, "text");
  const plain = await anthropic.messages.create({ ...options, tool_choice: { type: "auto" }, max_tokens: 30, temperature: 0 });
  assert.ok(["text", "tool_use"].includes(plain.content[0].type));
});

test("mistral: tools and JSON", async () => {
  const mistral = new Mistral({ serverURL: url, apiKey: key, retryConfig: { strategy: "none" } });
  const options = { model, messages, maxTokens: 200, randomSeed: 3 };
  const called = await mistral.chat.complete({ ...options, tools, toolChoice: "any" });
  assert.equal(called.choices[0].finishReason, "tool_calls");
  for (const call of called.choices[0].message.toolCalls) {
    checkArguments(call.function.name, call.function.arguments);
  }
  let name, text = "";
  for await (const { data } of await mistral.chat.stream({ ...options, tools: [tools[0]], toolChoice: "any", parallelToolCalls: false })) {
    for (const call of data.choices[0].delta.toolCalls ?? []) {
      name ||= call.function.name;
      text += call.function.arguments;
    }
  }
  checkArguments(name, text);
  const json = await mistral.chat.complete({ ...options, responseFormat: { type: "json_object" } });
  assert.equal(typeof JSON.parse(json.choices[0].message.content), "object");
});

test("langchain: a bound tool and a structured answer", async () => {
  const chat = new ChatOpenAI({
    model, apiKey: key, maxTokens: 200, maxRetries: 0, useResponsesApi: false,
    configuration: { baseURL: `${url}/v1` },
  });
  const answer = await chat.bindTools(tools, { tool_choice: "weather" }).invoke("Once");
  assert.ok(answer.tool_calls.length >= 1);
  checkArguments(answer.tool_calls[0].name, answer.tool_calls[0].args);
  const structured = chat.withStructuredOutput(parameters, { name: "w", method: "jsonSchema" });
  checkArguments("weather", await structured.invoke("Once"));
});

test("ai: tools, streamed tools and objects", async () => {
  const provider = createOpenAICompatible({
    name: "octet", baseURL: `${url}/v1`, apiKey: key, supportsStructuredOutputs: true,
  });
  const options = {
    model: provider(model), prompt: "Once upon a time", maxOutputTokens: 200, maxRetries: 0,
    tools: { weather: tool({ description: "Tells the weather.", inputSchema: jsonSchema(parameters) }) },
    toolChoice: "required",
  };
  const whole = await generateText(options);
  assert.equal(whole.finishReason, "tool-calls");
  for (const call of whole.toolCalls) checkArguments(call.toolName, call.input);
  const stream = streamText(options);
  const calls = await stream.toolCalls;
  assert.ok(calls.length >= 1);
  for (const call of calls) checkArguments(call.toolName, call.input);
  const object = await generateObject({
    model: provider(model), prompt: "Once", schema: jsonSchema(parameters), maxOutputTokens: 100, maxRetries: 0,
  });
  checkArguments("weather", object.object);
});
