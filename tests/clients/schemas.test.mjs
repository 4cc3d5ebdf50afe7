// Fifty schemas, ten answers each at temperature 1: all parse, and an independent validator agrees.
import assert from "node:assert/strict";
import test from "node:test";

import addFormats from "ajv-formats";
import Ajv from "ajv/dist/2020.js";
import OpenAI from "openai";

import { schemas } from "./schemas.mjs";

const openai = new OpenAI({
  baseURL: `${process.env.OCTET_URL}/v1`, apiKey: process.env.OCTET_API_KEY, maxRetries: 0,
});
const model = (await openai.models.list()).data[0].id;
const answersEach = 10;
const finishes = {};
let answers = 0, tokens = 0, longest = 0;

async function check(name, schema) {
  const ajv = new Ajv({ strict: false });
  addFormats(ajv);
  const validate = ajv.compile(schema);
  const answer = await openai.chat.completions.create({
    model, temperature: 1, seed: 1, n: answersEach, max_tokens: 300,
    messages: [{ role: "user", content: "Once upon a time" }],
    response_format: { type: "json_schema", json_schema: { name, schema, strict: true } },
  });
  assert.equal(answer.choices.length, answersEach);
  for (const choice of answer.choices) {
    const value = JSON.parse(choice.message.content);
    assert.ok(validate(value), `${choice.message.content}: ${JSON.stringify(validate.errors)}`);
    finishes[choice.finish_reason] = (finishes[choice.finish_reason] ?? 0) + 1;
    ++answers;
  }
  tokens += answer.usage.completion_tokens;
  longest = Math.max(longest, answer.usage.completion_tokens / answersEach);
}

for (const [name, schema] of Object.entries(schemas)) test(name, () => check(name, schema));

test("schemas: all of them", () => {
  assert.equal(Object.keys(schemas).length, 50);
  assert.equal(answers, 50 * answersEach);
  console.log(`${answers} answers valid, ${tokens} tokens, finish reasons ${JSON.stringify(finishes)}`);
});

test("what cannot be guaranteed is refused by its place", async () => {
  const refused = {
    "#/properties/a/uniqueItems": { type: "object", properties: { a: { type: "array", uniqueItems: true } } },
    "#/not": { not: { type: "string" } },
    "#/oneOf": { oneOf: [{ type: "integer" }, { type: "number" }] },
    "#/properties/x/format": { properties: { x: { type: "string", format: "regex" } } },
  };
  for (const [pointer, schema] of Object.entries(refused)) {
    await assert.rejects(
      openai.chat.completions.create({
        model, messages: [{ role: "user", content: "x" }],
        response_format: { type: "json_schema", json_schema: { name: "n", schema } },
      }),
      (error) => error instanceof OpenAI.BadRequestError && error.message.includes(pointer),
    );
  }
});

test("an answer too short for its schema is refused", async () => {
  await assert.rejects(
    openai.chat.completions.create({
      model, max_tokens: 3, messages: [{ role: "user", content: "x" }],
      response_format: { type: "json_schema", json_schema: { name: "n", schema: schemas.invoice } },
    }),
    /the shortest answer that is allowed may take \d+ tokens/,
  );
});
