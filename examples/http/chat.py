#!/usr/bin/env python3
"""Asks a running `octet serve`, with nothing but Python's own library, and prints the answer as it is written.

    examples/http/chat.py [QUESTION]    OCTET_URL: where (http://127.0.0.1:8080), OCTET_API_KEY: its key
"""
import json
import os
import sys
import urllib.error
import urllib.request


def chat(url, messages, key=None, **options):
    """Yields the answer's pieces."""
    headers = {"content-type": "application/json"}
    if key:
        headers["authorization"] = f"Bearer {key}"
    body = json.dumps({"messages": messages, "stream": True, **options}).encode()
    request = urllib.request.Request(f"{url}/v1/chat/completions", body, headers)
    with urllib.request.urlopen(request) as response:
        for line in response:
            if not line.startswith(b"data: {"):
                continue  # an empty line, a comment that keeps the connection alive, or the end
            chunk = json.loads(line[len(b"data: "):])
            if "error" in chunk:
                raise RuntimeError(chunk["error"]["message"])
            for choice in chunk["choices"]:
                yield choice["delta"].get("content", "")


def main():
    question = sys.argv[1] if len(sys.argv) > 1 else "Once upon a time"
    url = os.environ.get("OCTET_URL", "http://127.0.0.1:8080")
    messages = [{"role": "user", "content": question}]
    try:
        for piece in chat(url, messages, os.environ.get("OCTET_API_KEY"), max_tokens=40, temperature=0):
            print(piece, end="", flush=True)
        print()
    except urllib.error.HTTPError as error:
        sys.exit(f"chat.py: {json.load(error)['error']['message']}")


if __name__ == "__main__":
    main()
