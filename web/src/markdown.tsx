// Markdown as elements. Text never becomes HTML: what looks like tags is shown as it was written.
import { createLowlight } from 'lowlight'
import bash from 'highlight.js/lib/languages/bash'
import c from 'highlight.js/lib/languages/c'
import cpp from 'highlight.js/lib/languages/cpp'
import css from 'highlight.js/lib/languages/css'
import go from 'highlight.js/lib/languages/go'
import java from 'highlight.js/lib/languages/java'
import javascript from 'highlight.js/lib/languages/javascript'
import json from 'highlight.js/lib/languages/json'
import python from 'highlight.js/lib/languages/python'
import rust from 'highlight.js/lib/languages/rust'
import sql from 'highlight.js/lib/languages/sql'
import typescript from 'highlight.js/lib/languages/typescript'
import xml from 'highlight.js/lib/languages/xml'
import yaml from 'highlight.js/lib/languages/yaml'
import { marked, type Token, type Tokens } from 'marked'
import { h, type ComponentChildren } from 'preact'
import { memo } from 'preact/compat'
import { CopyButton } from './parts'

const lowlight = createLowlight({
  bash, c, cpp, css, go, java, javascript, json, python, rust, sql, typescript, xml, yaml,
})

type Node = { type: string; value?: string; tagName?: string; properties?: { className?: string[] }; children?: Node[] }
function elements(nodes: Node[]): ComponentChildren {
  return nodes.map((n) =>
    n.type === 'text' ? n.value : h('span', { class: n.properties?.className?.join(' ') }, elements(n.children ?? [])),
  )
}

/** Long code, and code that still grows past it, is left plain: colouring it each frame would be slow. */
const longest = 20000

const Code = memo(({ text, language }: { text: string; language: string }) => {
  const known = lowlight.registered(language) && text.length < longest
  return (
    <figure class="code">
      <figcaption>
        <span>{language || 'text'}</span>
        <CopyButton text={text} label="Copy code" />
      </figcaption>
      <pre tabIndex={0} aria-label={`Code${language ? ', ' + language : ''}`}>
        <code>{known ? elements(lowlight.highlight(language, text).children as Node[]) : text}</code>
      </pre>
    </figure>
  )
})

/** Addresses that a click may open. */
function safe(href: string): string | undefined {
  return /^(https?:|mailto:)/i.test(href.trim()) ? href : undefined
}

const entities: Record<string, string> = { amp: '&', lt: '<', gt: '>', quot: '"', '#39': "'" }
const plain = (text: string) => text.replace(/&(amp|lt|gt|quot|#39);/g, (_, name) => entities[name])

function inline(tokens: Token[] | undefined): ComponentChildren {
  return tokens?.map((token) => {
    const t = token as any
    switch (t.type) {
      case 'strong':
        return <strong>{inline(t.tokens)}</strong>
      case 'em':
        return <em>{inline(t.tokens)}</em>
      case 'del':
        return <del>{inline(t.tokens)}</del>
      case 'codespan':
        return <code>{plain(t.text)}</code>
      case 'br':
        return <br />
      case 'link':
        return safe(t.href) ? (
          <a href={safe(t.href)} target="_blank" rel="noopener noreferrer">
            {inline(t.tokens)}
          </a>
        ) : (
          t.raw
        )
      case 'image': // nothing is fetched from elsewhere
        return `[${t.text || t.href}]`
      case 'escape':
        return plain(t.text)
      case 'text':
        return t.tokens ? inline(t.tokens) : plain(t.text)
      default:
        return t.raw
    }
  })
}

function List({ list }: { list: Tokens.List }) {
  const items = list.items.map((item) => (
    <li class={item.task ? 'task' : undefined}>
      {item.task && (
        <span class="tick" role="img" aria-label={item.checked ? 'done' : 'to do'}>
          {item.checked ? '☑' : '☐'}
        </span>
      )}
      {item.loose ? blocks(item.tokens) : item.tokens.map((t) => ((t as any).type === 'text' ? inline([t]) : block(t)))}
    </li>
  ))
  return list.ordered ? <ol start={Number(list.start) || 1}>{items}</ol> : <ul>{items}</ul>
}

function Table({ table }: { table: Tokens.Table }) {
  const side = (i: number) => (table.align[i] ? `to-${table.align[i]}` : undefined)
  return (
    <div class="scroll" tabIndex={0} role="group" aria-label="Table">
      <table>
        <thead>
          <tr>
            {table.header.map((cell, i) => (
              <th class={side(i)}>{inline(cell.tokens)}</th>
            ))}
          </tr>
        </thead>
        <tbody>
          {table.rows.map((row) => (
            <tr>
              {row.map((cell, i) => (
                <td class={side(i)}>{inline(cell.tokens)}</td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  )
}

function block(token: Token): ComponentChildren {
  const t = token as any
  switch (t.type) {
    case 'space':
    case 'def':
      return null
    case 'heading': // the page has headings of its own above them
      return h(`h${Math.min(6, t.depth + 2)}`, {}, inline(t.tokens))
    case 'paragraph':
      return <p>{inline(t.tokens)}</p>
    case 'code':
      return <Code text={t.text} language={(t.lang ?? '').trim().split(/\s/)[0].toLowerCase()} />
    case 'blockquote':
      return <blockquote>{blocks(t.tokens)}</blockquote>
    case 'list':
      return <List list={t} />
    case 'table':
      return <Table table={t} />
    case 'hr':
      return <hr />
    case 'text':
      return t.tokens ? <p>{inline(t.tokens)}</p> : <p>{plain(t.text)}</p>
    default:
      return <p>{t.raw}</p>
  }
}

const blocks = (tokens: Token[]): ComponentChildren => tokens.map(block)

export const Markdown = memo(({ text }: { text: string }) => (
  <div class="prose">{blocks(marked.lexer(text, { gfm: true, breaks: true }))}</div>
))
