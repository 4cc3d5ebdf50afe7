// The server's interface as far as the page needs it.
import type { Fault, Message, Settings } from './model'

export interface ModelInfo {
  id: string
  context: number
  parameters: number
  experts: number // 0: dense
  perToken: number
  adapters: string[] // asked for like models
}
export interface ExpertLoad {
  layers: number
  experts: number
  experts_per_token: number
  load: number[][]
}
export interface Row {
  position: number
  experts: number[][]
  weights: number[][]
}
export interface Extras {
  token?: number
  routing?: Row[]
  prompt_tokens?: number
  cached_tokens?: number
  completion_tokens?: number
  time_to_first_token?: number
  tokens_per_second?: number | null
  weight_bytes_per_token?: number
}
export interface Delta {
  text: string
  finish: string | null
  extras: Extras | null
}

export class ServerFault extends Error {
  constructor(readonly fault: Fault) {
    super(fault.message)
  }
}

const gone = () =>
  new ServerFault({ kind: 'gone', message: 'The server does not answer. It may have stopped, or the network is down.' })

async function faultOf(response: Response): Promise<ServerFault> {
  let message = `The server answered ${response.status}.`
  let code = ''
  try {
    const { error } = await response.json()
    message = String(error.message)
    code = String(error.code ?? '')
  } catch {
    // Not one of Octet's errors: a proxy's page, say.
  }
  if (response.status === 401 || response.status === 403) return new ServerFault({ kind: 'key', message })
  if (response.status === 429 || response.status === 503) {
    const retryAfter = Number(response.headers.get('retry-after')) || 5
    return new ServerFault({ kind: 'busy', message, retryAfter })
  }
  if (code === 'context_length_exceeded') return new ServerFault({ kind: 'full', message })
  return new ServerFault({ kind: 'other', message })
}

async function ask(path: string, key: string, init: RequestInit = {}): Promise<Response> {
  const headers: Record<string, string> = { 'content-type': 'application/json' }
  if (key) headers.authorization = `Bearer ${key}`
  let response: Response
  try {
    response = await fetch(path, { ...init, headers, credentials: 'omit' })
  } catch (error) {
    if (error instanceof DOMException && error.name === 'AbortError') throw error
    throw gone()
  }
  if (!response.ok) throw await faultOf(response)
  return response
}

export async function firstModel(key: string): Promise<ModelInfo> {
  const { data } = await (await ask('/v1/models', key)).json()
  const load = await expertLoad(key)
  return {
    id: data[0].id,
    context: data[0].max_model_len,
    parameters: data[0].octet.parameters,
    experts: load.experts,
    perToken: load.experts_per_token,
    adapters: data.filter((m: { parent?: string | null }) => m.parent).map((m: { id: string }) => m.id),
  }
}

export const expertLoad = async (key: string): Promise<ExpertLoad> => (await ask('/v1/octet/experts', key)).json()

function body(model: string, messages: Message[], settings: Settings, trace: boolean) {
  const turns = messages.map(({ role, content }) => ({ role, content }))
  if (settings.system.trim()) turns.unshift({ role: 'system' as any, content: settings.system })
  return {
    model,
    messages: turns,
    stream: true,
    temperature: settings.temperature,
    top_p: settings.topP,
    min_p: settings.minP,
    repeat_penalty: settings.repeatPenalty,
    ...(settings.maxTokens ? { max_tokens: settings.maxTokens } : {}),
    ...(settings.seed === null ? {} : { seed: settings.seed }),
    octet: { trace },
  }
}

/** The events of a stream, one text each; comments and other fields are passed over. */
async function* events(response: Response): AsyncGenerator<string> {
  const reader = response.body!.pipeThrough(new TextDecoderStream()).getReader()
  let waiting = ''
  while (true) {
    const { done, value } = await reader.read()
    if (done) return
    waiting += value
    let end: number
    while ((end = waiting.indexOf('\n\n')) >= 0) {
      for (const line of waiting.slice(0, end).split('\n')) if (line.startsWith('data: ')) yield line.slice(6)
      waiting = waiting.slice(end + 2)
    }
  }
}

export async function* chat(
  model: string,
  messages: Message[],
  settings: Settings,
  options: { key: string; trace: boolean; signal: AbortSignal },
): AsyncGenerator<Delta> {
  const response = await ask('/v1/chat/completions', options.key, {
    method: 'POST',
    body: JSON.stringify(body(model, messages, settings, options.trace)),
    signal: options.signal,
  })
  try {
    for await (const data of events(response)) {
      if (data === '[DONE]') return
      const chunk = JSON.parse(data)
      if (chunk.error) throw new ServerFault({ kind: 'other', message: String(chunk.error.message) })
      const choice = chunk.choices?.[0]
      if (!choice) continue
      yield { text: choice.delta.content ?? '', finish: choice.finish_reason, extras: choice.octet ?? null }
    }
  } catch (error) {
    if (error instanceof ServerFault || (error instanceof DOMException && error.name === 'AbortError')) throw error
    throw gone()
  }
  throw gone() // the stream ended without its last event
}
