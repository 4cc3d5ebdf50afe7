// Between the page and the server: makes streams as slow as large models are, and fails when told to.
import http from 'node:http'

async function slowly(answer, response, behaviour) {
  let waiting = ''
  for await (const piece of answer) {
    waiting += piece
    let end
    while ((end = waiting.indexOf('\n\n')) >= 0) {
      response.write(waiting.slice(0, end + 2))
      waiting = waiting.slice(end + 2)
      if (behaviour.pause > 0) await new Promise((go) => setTimeout(go, behaviour.pause))
    }
  }
  response.end(waiting)
}

/** `behaviour`: { pause: milliseconds between events, fail: null | { status, body, headers } | 'drop' }. */
export function startProxy(target, behaviour) {
  const upstream = new URL(target)
  const server = http.createServer((request, response) => {
    const isChat = request.url.startsWith('/v1/chat')
    if (isChat && behaviour.fail === 'drop') return request.socket.destroy()
    if (isChat && behaviour.fail) {
      request.resume()
      response.writeHead(behaviour.fail.status, { 'content-type': 'application/json', ...behaviour.fail.headers })
      return response.end(JSON.stringify(behaviour.fail.body))
    }
    const headers = { ...request.headers, host: 'localhost' }
    delete headers.origin
    const onward = http.request(
      { host: upstream.hostname, port: upstream.port, path: request.url, method: request.method, headers },
      async (answer) => {
        const kept = { ...answer.headers }
        delete kept['transfer-encoding']
        response.writeHead(answer.statusCode, kept)
        if (!isChat) return answer.pipe(response)
        try {
          await slowly(answer, response, behaviour)
        } catch {
          response.destroy() // one of the two went away
        }
      },
    )
    onward.on('error', () => response.destroy())
    response.on('close', () => onward.destroy())
    request.pipe(onward)
  })
  return new Promise((resolve) =>
    server.listen(0, '127.0.0.1', () => resolve({ url: `http://127.0.0.1:${server.address().port}`, close: () => server.close() })),
  )
}
