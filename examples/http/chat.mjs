#!/usr/bin/env node
// Asks a running `octet serve` with fetch, and prints the answer as it is written.
//   examples/http/chat.mjs [QUESTION]    OCTET_URL: where (http://127.0.0.1:8080), OCTET_API_KEY: its key

/** Yields the answer's pieces. */
async function* chat(url, messages, { key, ...options } = {}) {
  const headers = { "content-type": "application/json" };
  if (key) headers.authorization = `Bearer ${key}`;
  const body = JSON.stringify({ messages, stream: true, ...options });
  const response = await fetch(`${url}/v1/chat/completions`, { method: "POST", headers, body });
  if (!response.ok) throw new Error((await response.json()).error.message);
  let text = "";
  for await (const bytes of response.body.pipeThrough(new TextDecoderStream())) {
    text += bytes;
    const events = text.split("\n\n");
    text = events.pop(); // the beginning of the next one
    for (const event of events) {
      // Other events: comments that keep the connection alive, and the end.
      if (!event.startsWith("data: {")) continue;
      const chunk = JSON.parse(event.slice("data: ".length));
      if (chunk.error) throw new Error(chunk.error.message);
      for (const choice of chunk.choices) yield choice.delta.content ?? "";
    }
  }
}

const url = process.env.OCTET_URL ?? "http://127.0.0.1:8080";
const messages = [{ role: "user", content: process.argv[2] ?? "Once upon a time" }];
const options = { key: process.env.OCTET_API_KEY, max_tokens: 40, temperature: 0 };
try {
  for await (const piece of chat(url, messages, options)) process.stdout.write(piece);
  process.stdout.write("\n");
} catch (error) {
  console.error(`chat.mjs: ${error.message}`);
  process.exitCode = 1;
}
