// Published clients, unmodified, against a running server: OCTET_URL, OCTET_API_KEY.
import assert from "node:assert/strict";
import test from "node:test";

import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import Anthropic from "@anthropic-ai/sdk";
import { HumanMessage, SystemMessage } from "@langchain/core/messages";
import { ChatOpenAI, OpenAI as CompletionOpenAI } from "@langchain/openai";
import { Mistral } from "@mistralai/mistralai";
import { generateText, streamText } from "ai";
import OpenAI from "openai";

const url = process.env.OCTET_URL;
const key = process.env.OCTET_API_KEY;
const prompt = "Once upon a time";
const messages = [{ role: "user", content: prompt }];
// What the model inside the program says, greedily, in 20 tokens.
const story = ", there was a little girl named Lily. She loved to play outsid";

const openai = new OpenAI({ baseURL: `${url}/v1`, apiKey: key, maxRetries: 0 });
const model = (await openai.models.list()).data[0].id;
const greedy = { model, temperature: 0, max_tokens: 20 };

test("openai: chat, whole and streamed", async () => {
  const whole = await openai.chat.completions.create({ ...greedy, messages });
  assert.equal(whole.choices[0].message.content, story);
  assert.equal(whole.choices[0].finish_reason, "length");
  assert.equal(whole.usage.completion_tokens, 20);
  const stream = await openai.chat.completions.create({
    ...greedy,
    messages,
    stream: true,
    stream_options: { include_usage: true },
  });
  let text = "", usage, finish;
  for await (const chunk of stream) {
    text += chunk.choices[0]?.delta?.content ?? "";
    finish = chunk.choices[0]?.finish_reason ?? finish;
    usage = chunk.usage ?? usage;
  }
  assert.equal(text, story);
  assert.equal(finish, "length");
  assert.equal(usage.total_tokens, whole.usage.total_tokens);
});

test("openai: the helper that puts a stream together", async () => {
  const stream = openai.chat.completions.stream({ ...greedy, messages, logprobs: true });
  const whole = await stream.finalChatCompletion();
  assert.equal(whole.choices[0].message.content, story);
  assert.equal(whole.choices[0].logprobs.content.length, 20);
});

test("openai: completions, n, seeds, stop, logprobs, logit bias", async () => {
  const ask = (more) => openai.completions.create({ ...greedy, prompt, ...more });
  assert.equal((await ask({ echo: true })).choices[0].text, prompt + story);
  const seeded = { temperature: 1, seed: 7, n: 3 };
  const several = await ask(seeded);
  assert.equal(several.choices.length, 3);
  const texts = (answer) => answer.choices.map((choice) => choice.text);
  assert.deepEqual(texts(await ask(seeded)), texts(several));
  const stopped = await ask({ stop: ["named"] });
  assert.equal(stopped.choices[0].text, ", there was a little girl ");
  assert.equal(stopped.choices[0].finish_reason, "stop");
  const logprobs = (await ask({ logprobs: 2, max_tokens: 3 })).choices[0].logprobs;
  assert.deepEqual(logprobs.tokens, [",", " there", " was"]);
  assert.ok(logprobs.token_logprobs.every((p) => p <= 0));
  const judged = (await ask({ echo: true, logprobs: 1, max_tokens: 1 })).choices[0];
  assert.deepEqual(judged.logprobs.tokens, ["<s>", " Once", " upon", " a", " time", ","]);
  assert.equal(judged.logprobs.token_logprobs[0], null);
  assert.deepEqual(judged.logprobs.text_offset, [0, 0, 4, 9, 11, 16]);
  const banned = await ask({ logit_bias: { 432: -100 }, max_tokens: 1 });
  assert.notEqual(banned.choices[0].text, ",");
});

test("openai: responses, whole and streamed", async () => {
  const options = { model, input: prompt, temperature: 0, max_output_tokens: 20 };
  const whole = await openai.responses.create(options);
  assert.equal(whole.output_text, story);
  assert.equal(whole.status, "incomplete");
  const stream = openai.responses.stream(options);
  let text = "";
  stream.on("response.output_text.delta", (event) => (text += event.delta));
  assert.equal((await stream.finalResponse()).output_text, story);
  assert.equal(text, story);
  await assert.rejects(
    openai.responses.create({ ...options, previous_response_id: "resp_1" }),
    OpenAI.BadRequestError,
  );
});

test("openai: embeddings", async () => {
  // The client asks for base64 and unpacks it.
  const packed = await openai.embeddings.create({ model, input: ["The dog ran.", "A cat."] });
  const plain = await openai.embeddings.create({
    model, input: "The dog ran.", encoding_format: "float",
  });
  assert.equal(packed.data.length, 2);
  assert.deepEqual(packed.data[0].embedding.map(Math.fround), plain.data[0].embedding.map(Math.fround));
});

test("openai: errors are of the client's own kinds", async () => {
  const ask = (more, client = openai) =>
    client.chat.completions.create({ ...greedy, messages, ...more });
  await assert.rejects(ask({ temperature: -1 }), OpenAI.BadRequestError);
  await assert.rejects(ask({ model: "gpt-9" }), (error) => {
    assert.ok(error instanceof OpenAI.NotFoundError);
    assert.equal(error.code, "model_not_found");
    return true;
  });
  await assert.rejects(
    ask({ messages: [{ role: "user", content: "word ".repeat(2000) }] }),
    (error) => error.code === "context_length_exceeded",
  );
  const stranger = new OpenAI({ baseURL: `${url}/v1`, apiKey: "wrong", maxRetries: 0 });
  await assert.rejects(ask({}, stranger), OpenAI.AuthenticationError);
});

test("openai: a stream that is left", async () => {
  const stream = await openai.chat.completions.create({ model, messages, stream: true });
  for await (const chunk of stream) {
    if (chunk.choices[0].delta.content) break;
  }
  stream.controller.abort();
  const again = await openai.chat.completions.create({ ...greedy, messages });
  assert.equal(again.choices[0].message.content, story);
});

test("anthropic: messages, whole and streamed, tokens, errors", async () => {
  const anthropic = new Anthropic({ baseURL: url, apiKey: key, maxRetries: 0 });
  const whole = await anthropic.messages.create({ ...greedy, messages });
  assert.equal(whole.content[0].text, story);
  assert.equal(whole.stop_reason, "max_tokens");
  assert.equal(whole.usage.output_tokens, 20);
  const stream = anthropic.messages.stream({ ...greedy, messages });
  let text = "";
  stream.on("text", (piece) => (text += piece));
  const final = await stream.finalMessage();
  assert.equal(text, story);
  assert.equal(final.content[0].text, story);
  assert.equal(final.usage.output_tokens, 20);
  const counted = await anthropic.messages.countTokens({ model, messages });
  const used = whole.usage.input_tokens + whole.usage.cache_read_input_tokens;
  assert.equal(counted.input_tokens, used);
  const stopped = await anthropic.messages.create({ ...greedy, messages, stop_sequences: ["named"] });
  assert.equal(stopped.stop_reason, "stop_sequence");
  assert.equal(stopped.stop_sequence, "named");
  const begun = [...messages, { role: "assistant", content: ", there was" }];
  const continued = await anthropic.messages.create({ ...greedy, messages: begun, max_tokens: 5 });
  assert.ok(continued.content[0].text.length > 0);
  await assert.rejects(
    anthropic.messages.create({ ...greedy, messages: [] }),
    Anthropic.BadRequestError,
  );
  const stranger = new Anthropic({ baseURL: url, apiKey: "wrong", maxRetries: 0 });
  await assert.rejects(
    stranger.messages.create({ ...greedy, messages }),
    Anthropic.AuthenticationError,
  );
});

test("mistral: chat, whole and streamed, its own fields, errors", async () => {
  const mistral = new Mistral({ serverURL: url, apiKey: key, retryConfig: { strategy: "none" } });
  const options = { model, messages, temperature: 0, maxTokens: 20, randomSeed: 3, safePrompt: false };
  const whole = await mistral.chat.complete(options);
  assert.equal(whole.choices[0].message.content, story);
  let text = "";
  for await (const event of await mistral.chat.stream(options)) {
    text += event.data.choices[0]?.delta?.content ?? "";
  }
  assert.equal(text, story);
  assert.ok((await mistral.models.list()).data.some((m) => m.id === model));
  await assert.rejects(mistral.chat.complete({ ...options, temperature: -1 }), /temperature/);
});

test("langchain: chat and completions, whole and streamed", async () => {
  const options = {
    model, apiKey: key, temperature: 0, maxTokens: 20, maxRetries: 0,
    configuration: { baseURL: `${url}/v1` },
  };
  const chat = new ChatOpenAI({ ...options, useResponsesApi: false });
  assert.equal((await chat.invoke([new HumanMessage(prompt)])).content, story);
  let text = "";
  for await (const chunk of await chat.stream([new HumanMessage(prompt)])) text += chunk.content;
  assert.equal(text, story);
  const told = await chat.invoke([new SystemMessage("Tell a story."), new HumanMessage(prompt)]);
  assert.ok(told.content.length > 0);
  assert.equal(await new CompletionOpenAI(options).invoke(prompt), story);
});

test("ai: generateText and streamText", async () => {
  const provider = createOpenAICompatible({
    name: "octet", baseURL: `${url}/v1`, apiKey: key, includeUsage: true,
  });
  const options = { model: provider(model), prompt, temperature: 0, maxOutputTokens: 20, maxRetries: 0 };
  const whole = await generateText(options);
  assert.equal(whole.text, story);
  assert.equal(whole.finishReason, "length");
  const stream = streamText(options);
  let text = "";
  for await (const piece of stream.textStream) text += piece;
  assert.equal(text, story);
  assert.equal((await stream.usage).outputTokens, 20);
});
