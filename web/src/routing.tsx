// Which experts see which tokens: answers coloured token by token, and how busy every expert is.
import { signal } from '@preact/signals'
import { useEffect, useRef, useState } from 'preact/hooks'
import * as api from './api'
import type { Message, Token } from './model'
import { bytes, IconButton, number } from './parts'
import { apiKey, current, model, serverFault } from './state'

export const routingOpen = signal(false)
const layer = signal(0)
const picked = signal<{ message: string; token: number } | null>(null)

/** Colours repeat after the eighth. */
const colour = (expert: number) => `e${expert % 8}`

/** What a token says to a screen reader. */
function said(token: Token, perLayer: number): string {
  const text = token.text.trim() || 'space'
  if (!token.experts) return text
  const at = layer.value * perLayer
  return `${text}, expert ${token.experts[at] + 1}`
}

/** An answer as its tokens. Arrow keys go from one to the next. */
export function Tokens({ message }: { message: Message }) {
  const tokens = message.tokens ?? []
  const perLayer = message.perLayer ?? 2
  const mine = picked.value?.message === message.id ? picked.value.token : -1
  const pick = (token: number) => {
    if (token >= 0 && token < tokens.length) picked.value = { message: message.id, token }
  }
  const onKey = (event: KeyboardEvent) => {
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key]
    if (event.key === 'Home') pick(0)
    else if (event.key === 'End') pick(tokens.length - 1)
    else if (step) pick(mine < 0 ? 0 : mine + step)
    else return
    event.preventDefault()
  }
  const idOf = (i: number) => `t-${message.id}-${i}`
  return (
    <div
      class="tokens"
      role="listbox"
      tabIndex={0}
      aria-label="Tokens of the answer, coloured by expert"
      aria-activedescendant={mine >= 0 ? idOf(mine) : undefined}
      onKeyDown={onKey}
      onPointerOver={(e) => {
        const at = (e.target as HTMLElement).dataset.token
        if (at !== undefined) pick(Number(at))
      }}
      onClick={(e) => {
        const at = (e.target as HTMLElement).dataset.token
        if (at !== undefined) pick(Number(at))
      }}
    >
      {tokens.map((token, i) =>
        token.text === '' ? null : (
          <span
            key={i}
            id={idOf(i)}
            role="option"
            aria-selected={i === mine}
            aria-label={said(token, perLayer)}
            data-token={i}
            class={token.experts ? `token ${colour(token.experts[layer.value * perLayer])}` : 'token'}
          >
            {token.text}
          </span>
        ),
      )}
    </div>
  )
}

/** The chosen token, layer by layer. */
function Inspector() {
  const at = picked.value
  const message = current.value?.messages.find((m) => m.id === at?.message)
  const token = at ? message?.tokens?.[at.token] : undefined
  if (!message || !token) {
    return <p class="hint">Point at a token, or go through an answer with the arrow keys, to see its way through the layers.</p>
  }
  const k = message.perLayer ?? 2
  const experts = token.experts
  return (
    <div class="inspector">
      <p class="picked">
        <q>{token.text.replace(/\n/g, '↵').replace(/^ | $/g, '·')}</q>
      </p>
      {experts ? (
        <ol class="ways" tabIndex={0} aria-label="Experts of this token in each layer">
          {Array.from({ length: experts.length / k }, (_, l) => (
            <li class={l === layer.value ? 'now' : undefined}>
              <span class="layer">{l + 1}</span>
              <span class="bar" aria-hidden="true">
                {Array.from({ length: k }, (_, j) => (
                  <i class={colour(experts[l * k + j])} style={{ flexGrow: token.shares![l * k + j] + 1 }} />
                ))}
              </span>
              <span class="who">
                {Array.from({ length: k }, (_, j) => (
                  <span>
                    <b class={colour(experts[l * k + j])}>{experts[l * k + j] + 1}</b>
                    {number((token.shares![l * k + j] / 255) * 100)} %
                  </span>
                ))}
              </span>
            </li>
          ))}
        </ol>
      ) : (
        <p class="hint">The last token of an answer goes through no layer: nothing comes after it.</p>
      )}
    </div>
  )
}

const every = 1000 // milliseconds between two looks at the server
const fading = 0.75 // what a look leaves of the ones before it

/** Shares of each layer's tokens [layer][expert], of the last seconds or, at first, since the server began. */
function useLoad(): { info: api.ExpertLoad | null; shares: number[][]; live: boolean } {
  const [state, set] = useState<{ info: api.ExpertLoad | null; shares: number[][]; live: boolean }>({
    info: null,
    shares: [],
    live: false,
  })
  const recent = useRef<number[][] | null>(null)
  const before = useRef<number[][] | null>(null)
  useEffect(() => {
    let over = false
    let timer = 0
    const look = async () => {
      try {
        if (!document.hidden) {
          const info = await api.expertLoad(apiKey.value)
          if (over) return
          const then = before.current
          const fresh = info.load.map((row, l) => row.map((n, e) => n - (then?.[l]?.[e] ?? n)))
          const moved = fresh.some((row) => row.some((n) => n > 0))
          if (moved) {
            recent.current = fresh.map((row, l) => row.map((n, e) => n + fading * (recent.current?.[l]?.[e] ?? 0)))
          }
          before.current = info.load
          const shown = recent.current ?? info.load
          const shares = shown.map((row) => {
            const sum = row.reduce((a, b) => a + b, 0)
            return row.map((n) => (sum > 0 ? n / sum : 0))
          })
          set({ info, shares, live: moved })
        }
      } catch {
        // The server is gone or wants a key: the chat says so.
      }
      if (!over) timer = window.setTimeout(look, every)
    }
    void look()
    return () => {
      over = true
      clearTimeout(timer)
    }
  }, [])
  return state
}

/** The most loaded expert of a layer, and how much more it has than its part. */
function summary(shares: number[][]): string {
  let most = 0
  let where = ''
  shares.forEach((row, l) =>
    row.forEach((share, e) => {
      if (share > most) {
        most = share
        where = `expert ${e + 1} of layer ${l + 1} has most: ${number(share * 100)} % of its tokens`
      }
    }),
  )
  return where || 'no tokens yet'
}

function HeatMap() {
  const { info, shares, live } = useLoad()
  const [asTable, setAsTable] = useState(false)
  if (!info) return <p class="hint">{serverFault.value ?? 'Asking the server …'}</p>
  if (info.experts === 0) return <p class="hint">This model is dense: every token sees all of its weights.</p>
  const even = 1 / info.experts
  const columns = Array.from({ length: info.experts }, (_, e) => e)
  return (
    <section class="load" aria-labelledby="load-title">
      <div class="row">
        <h3 id="load-title">
          Load of the experts <span class={live ? 'pulse on' : 'pulse'} title={live ? 'live' : 'idle'} />
        </h3>
        <button type="button" class="link" aria-pressed={asTable} onClick={() => setAsTable(!asTable)}>
          {asTable ? 'As a map' : 'As a table'}
        </button>
      </div>
      {asTable ? (
        <div class="scroll" tabIndex={0} role="group" aria-label="Load as a table">
          <table class="numbers">
            <caption class="hidden">Share of each layer’s tokens by expert, in percent</caption>
            <thead>
              <tr>
                <th scope="col">Layer</th>
                {columns.map((e) => (
                  <th scope="col">{e + 1}</th>
                ))}
              </tr>
            </thead>
            <tbody>
              {shares.map((row, l) => (
                <tr>
                  <th scope="row">{l + 1}</th>
                  {row.map((share) => (
                    <td>{number(share * 100)}</td>
                  ))}
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      ) : (
        <div class="map" role="img" aria-label={`Load of experts by layer: ${summary(shares)}`}>
          <div class="map-row head">
            <span />
            {columns.map((e) => (
              <b class={colour(e)}>{e + 1}</b>
            ))}
          </div>
          {shares.map((row, l) => (
            <div class={l === layer.value ? 'map-row now' : 'map-row'}>
              <span>{l + 1}</span>
              {row.map((share, e) => (
                <i
                  title={`Layer ${l + 1}, expert ${e + 1}: ${number(share * 100, 1)} %`}
                  style={{ '--share': String(Math.min(1, share / (2.5 * even))) }}
                />
              ))}
            </div>
          ))}
          <div class="scale">
            <span>0</span>
            <i />
            <span>{number(2.5 * even * 100)} %</span>
          </div>
        </div>
      )}
      <p class="hint">
        {info.experts_per_token} of {info.experts} experts work on a token in each layer; an even part would be{' '}
        {number(even * 100, 1)} %.
      </p>
    </section>
  )
}

export function RoutingPanel() {
  const answers = current.value?.messages.filter((m) => m.tokens?.some((t) => t.experts)) ?? []
  const last = answers.at(-1)
  const k = last?.perLayer ?? 2
  const layers = (last?.tokens?.find((t) => t.experts)?.experts?.length ?? 0) / k
  if (layers > 0 && layer.value >= layers) layer.value = layers - 1
  const experts = new Set<number>()
  for (const m of answers) for (const t of m.tokens!) if (t.experts) experts.add(t.experts[layer.value * k])
  return (
    <aside class="panel" aria-labelledby="routing-title">
      <header>
        <h2 id="routing-title">Experts</h2>
        <IconButton icon="close" label="Close the experts" onClick={() => (routingOpen.value = false)} />
      </header>
      <div class="panel-inside">
        {layers > 0 ? (
          <>
            <div class="field">
              <div class="row">
                <label for="layer">Coloured by the first expert of layer</label>
                <output for="layer">
                  {layer.value + 1} <span class="soft">of {layers}</span>
                </output>
              </div>
              <input
                id="layer"
                type="range"
                min={1}
                max={layers}
                value={layer.value + 1}
                aria-valuetext={`layer ${layer.value + 1} of ${layers}`}
                onInput={(e) => (layer.value = Number(e.currentTarget.value) - 1)}
              />
            </div>
            <ul class="legend" aria-label="Colours of the experts">
              {[...experts]
                .sort((a, b) => a - b)
                .map((e) => (
                  <li>
                    <b class={colour(e)}>{e + 1}</b>
                  </li>
                ))}
            </ul>
            <Inspector />
          </>
        ) : (
          <p class="hint">Answers are coloured by the experts their tokens go to as soon as there is one.</p>
        )}
        <HeatMap />
        {last?.stats?.weightBytes ? (
          <p class="hint">
            The last answer read {bytes(last.stats.weightBytes)} of weights a token
            {model.value ? ` on ${model.value.id}` : ''}; answers computed together share what they read.
          </p>
        ) : null}
      </div>
    </aside>
  )
}
