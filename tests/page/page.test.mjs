// What people do with the page, in a real browser.
import { AxeBuilder } from '@axe-core/playwright'
import assert from 'node:assert/strict'
import { mkdirSync } from 'node:fs'
import { after, before, beforeEach, test } from 'node:test'
import { chromium } from 'playwright-core'
import { startProxy } from './proxy.mjs'

const shots = process.env.OCTET_SCREENSHOTS
const wide = { width: 1360, height: 850 }
const phone = { width: 390, height: 844 }
const behaviour = { pause: 15, fail: null }
let browser, proxy, context, page, faults

before(async () => {
  if (shots) mkdirSync(shots, { recursive: true })
  proxy = await startProxy(process.env.OCTET_URL, behaviour)
  browser = await chromium.launch({
    executablePath: process.env.OCTET_CHROMIUM,
    args: ['--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage'],
  })
})
after(async () => {
  await browser?.close()
  proxy?.close()
})

async function open(options = {}) {
  await context?.close()
  context = await browser.newContext({ viewport: wide, colorScheme: 'light', deviceScaleFactor: 1, ...options })
  page = await context.newPage()
  page.setDefaultTimeout(15000)
  faults = []
  page.on('pageerror', (error) => faults.push(String(error)))
  page.on('console', (m) => {
    if (m.type() === 'error' && !/Failed to load resource/.test(m.text())) faults.push(m.text())
  })
  await page.goto(proxy.url)
  await page.getByRole('heading', { name: 'Eight experts' }).waitFor()
}

beforeEach(async () => {
  Object.assign(behaviour, { pause: 15, fail: null })
  await open()
})

/** Seeded, and short enough to wait for. */
async function configure(settings) {
  await page.getByRole('button', { name: 'Settings' }).click()
  for (const [label, value] of Object.entries(settings)) await page.getByLabel(label, { exact: true }).fill(String(value))
  await page.getByRole('button', { name: 'Save' }).click()
}
async function say(text) {
  await page.getByLabel('Message', { exact: true }).fill(text)
  await page.keyboard.press('Enter')
}
const answers = () => page.locator('.message.assistant')
const answered = (n = 1) => answers().nth(n - 1).getByRole('button', { name: 'Answer again' }).waitFor()
const textOf = async (n = 1) => (await answers().nth(n - 1).locator('.prose, .tokens').innerText()).trim()
const shot = (name) => shots && page.screenshot({ path: `${shots}/${name}.png` })
async function accessible(where) {
  const { violations } = await new AxeBuilder({ page }).analyze()
  const bad = violations.filter((v) => v.impact === 'serious' || v.impact === 'critical')
  assert.deepEqual(
    bad.map((v) => `${v.id}: ${v.nodes.map((n) => n.target + ' ' + n.failureSummary).join(' | ')}`),
    [],
    where,
  )
  assert.deepEqual(faults, [], where)
}

test('an answer comes piece by piece, with its speed', async () => {
  await configure({ 'Longest answer': 60, Seed: 4 })
  await say('Once upon a time')
  await page.getByRole('button', { name: 'Stop' }).waitFor()
  await answers().locator('.prose').waitFor()
  const early = (await textOf()).length
  await answered()
  assert.ok((await textOf()).length > early, 'the text grew')
  assert.match(await answers().locator('.stats').innerText(), /60 tokens.*tokens\/s.*first after.*read a token/s)
  assert.match(await page.locator('.below').innerText(), /of 512 tokens of context/)
  assert.equal(await page.title(), 'Once upon a time · Octet')
})

test('stop keeps what is there', async () => {
  behaviour.pause = 60
  await configure({ Seed: 1 })
  await say('Tell me about a cat')
  await answers().locator('.prose').waitFor()
  await page.keyboard.press('Escape')
  await answered()
  const text = await textOf()
  assert.ok(text.length > 0)
  assert.match(await answers().locator('.stats').innerText(), /stopped/)
  await page.waitForTimeout(300)
  assert.equal(await textOf(), text)
})

test('a question is edited, an answer made again', async () => {
  behaviour.pause = 0
  await configure({ 'Longest answer': 20 })
  await say('A dog')
  await answered()
  await say('And then')
  await answered(2)
  await page.locator('.message.user').first().hover()
  await page.getByRole('button', { name: 'Edit message' }).first().click()
  await page.getByLabel('Edit your message').fill('A boat')
  await page.getByRole('button', { name: 'Send again' }).click()
  await answered()
  assert.equal(await page.locator('.message').count(), 2, 'what came after it is gone')
  assert.equal(await page.locator('.said').innerText(), 'A boat')
  const first = await textOf()
  for (let i = 0; i < 5 && (await textOf()) === first; ++i) {
    await page.getByRole('button', { name: 'Answer again' }).click()
    await answered()
  }
  assert.notEqual(await textOf(), first)
})

test('conversations are kept, switched, renamed, exported, deleted and taken back', async () => {
  behaviour.pause = 0
  await configure({ 'Longest answer': 15, Seed: 2 })
  await say('The first one')
  await answered()
  const first = await textOf()
  await page.getByRole('button', { name: 'New conversation' }).click()
  await say('The second one')
  await answered()
  const item = (name) => page.locator('.pick', { hasText: name })
  await item('The first one').click()
  assert.equal(await textOf(), first)

  await page.reload()
  await answered()
  assert.equal(await textOf(), first, 'after a reload')
  assert.equal(await page.locator('.pick').count(), 2)

  await item('The first one').hover()
  await page.getByRole('button', { name: 'Rename “The first one”' }).click()
  await page.getByLabel('Name of the conversation').fill('Renamed')
  await page.keyboard.press('Enter')
  await item('Renamed').hover()
  const download = page.waitForEvent('download')
  await page.getByRole('button', { name: 'Export “Renamed”' }).click()
  assert.equal((await download).suggestedFilename(), 'Renamed.md')
  await page.getByRole('button', { name: 'Delete “Renamed”' }).click()
  await item('The second one').waitFor()
  assert.equal(await item('Renamed').count(), 0)
  await page.getByRole('button', { name: 'Undo' }).click()
  assert.equal(await textOf(), first)
  await page.reload()
  await item('Renamed').waitFor()
})

test('the routing view colours tokens and shows the load of experts', async () => {
  behaviour.pause = 0
  await configure({ 'Longest answer': 60, Seed: 4 })
  await say('Once upon a time')
  await answered()
  const plain = await textOf()
  await page.getByRole('button', { name: 'Experts', exact: true }).click()
  const tokens = page.getByRole('option')
  assert.equal((await textOf()).replace(/\s+/g, ' '), plain.replace(/\s+/g, ' '))
  assert.ok((await tokens.count()) > 40)
  const colours = async () => tokens.evaluateAll((all) => all.map((t) => t.className).join())
  const before = await colours()
  assert.match(before, /token e\d/)
  await page.getByLabel(/first expert of layer/).fill('3')
  assert.notEqual(await colours(), before, 'another layer, other experts')

  await page.getByRole('listbox').focus()
  await page.keyboard.press('ArrowRight')
  await page.keyboard.press('ArrowRight')
  assert.equal(await page.locator('.ways li').count(), 5, 'a row for each layer')
  await page.locator('.map i[title^="Layer 5"]').first().waitFor()
  await accessible('routing view')
  await page.getByRole('button', { name: 'As a table' }).click()
  assert.equal(await page.locator('.numbers tbody tr').count(), 5)
  await accessible('routing view with a table')
})

test('the licences of its parts come with it', async () => {
  const text = await (await fetch(`${process.env.OCTET_URL}/licences.txt`)).text()
  for (const name of ['preact 10', 'marked 15', 'highlight.js 11', 'Newsreader']) assert.ok(text.includes(name), name)
})

test('an adapter of the server is chosen in the settings', async () => {
  const model = process.env.OCTET_MODEL.match(/([^/]+)\.gguf$/)[1]
  await page.route('**/v1/models', async (route) => {
    const response = await route.fetch()
    const list = await response.json()
    list.data.push({ ...list.data[0], id: 'poems', parent: list.data[0].id })
    await route.fulfill({ response, json: list })
  })
  const asked = []
  await page.route('**/v1/chat/completions', async (route) => {
    asked.push(route.request().postDataJSON().model)
    await route.fulfill({
      contentType: 'text/event-stream',
      body: 'data: {"choices": [{"index": 0, "delta": {"content": "Yes"}, "finish_reason": "stop"}]}\n\ndata: [DONE]\n\n',
    })
  })
  await page.reload()
  await page.locator('.about').getByText(model, { exact: true }).waitFor()
  await say('Hello')
  await answered()
  await page.getByRole('button', { name: 'Settings' }).click()
  await page.getByLabel('Adapter').selectOption('poems')
  await accessible('the choice of an adapter')
  await page.getByRole('button', { name: 'Save' }).click()
  await page.locator('.about').getByText(`${model} + poems`, { exact: true }).waitFor()
  await say('And now?')
  await answered(2)
  await page.reload()
  await page.locator('.about').getByText(`${model} + poems`, { exact: true }).waitFor()
  assert.deepEqual(asked, [model, 'poems'])
})

test('faults are told, and can be overcome', async () => {
  behaviour.pause = 0
  await configure({ 'Longest answer': 10 })
  behaviour.fail = 'drop'
  await say('Hello')
  await page.getByText('The server is gone').waitFor()
  behaviour.fail = {
    status: 429,
    headers: { 'retry-after': '7' },
    body: { error: { message: 'too many wait', code: 'queue_full' } },
  }
  await page.getByRole('button', { name: 'Try again' }).click()
  await page.getByText('It asks for 7 s of patience').waitFor()
  await accessible('a fault')
  behaviour.fail = null
  await page.getByRole('button', { name: 'Try again' }).click()
  await answered()
  await say('word '.repeat(600))
  await page.getByText('The context is full').waitFor()
  await page.getByRole('button', { name: 'New conversation' }).last().click()
  await page.getByRole('heading', { name: 'Eight experts' }).waitFor()

  behaviour.fail = { status: 401, body: { error: { message: 'no API key' } } }
  await say('Hello')
  await page.getByRole('dialog').getByLabel('API key').fill('secret')
  await accessible('the question for a key')
  behaviour.fail = null
  await page.getByRole('button', { name: 'Use this key' }).click()
  await page.getByRole('button', { name: 'Enter a key' }).waitFor()
})

test('Markdown never becomes HTML', async () => {
  await page.route('**/v1/chat/completions', (route) => {
    const text = [
      '## A heading', '**bold** and `code` <img src=x onerror=alert(1)>', '[bad](javascript:alert(1)) [good](https://example.org)',
      '```python\ndef f(x):\n    return "text"  # why\n```', '| a | b |\n|---|--:|\n| 1 | 2 |', '- one\n- [x] two',
    ].join('\n\n')
    const chunk = { choices: [{ index: 0, delta: { content: text }, finish_reason: 'stop' }] }
    route.fulfill({ contentType: 'text/event-stream', body: `data: ${JSON.stringify(chunk)}\n\ndata: [DONE]\n\n` })
  })
  await say('Show me')
  await answered()
  assert.equal(await page.locator('.prose img').count(), 0)
  assert.match(await textOf(), /<img src=x/)
  assert.deepEqual(await page.locator('.prose a').evaluateAll((all) => all.map((a) => a.href)), ['https://example.org/'])
  assert.ok((await page.locator('.hljs-keyword').count()) > 0)
  assert.equal(await page.locator('.prose td').count(), 2)
  await accessible('Markdown')
  await shot('markdown')
})

test('no serious accessibility fault, light and dark, wide and narrow', async () => {
  for (const [name, options] of [
    ['light', { colorScheme: 'light' }],
    ['dark', { colorScheme: 'dark' }],
    ['phone', { colorScheme: 'light', viewport: phone, hasTouch: true, isMobile: true, deviceScaleFactor: 2 }],
    ['phone-dark', { colorScheme: 'dark', viewport: phone, hasTouch: true, isMobile: true, deviceScaleFactor: 2 }],
  ]) {
    behaviour.pause = 0
    await open(options)
    await accessible(`${name}, empty`)
    await shot(`${name}-empty`)
    if (name.startsWith('phone')) {
      await page.getByRole('button', { name: 'Conversations' }).click()
      await page.waitForTimeout(300)
      await accessible(`${name}, drawer`)
      await shot(`${name}-drawer`)
      await page.keyboard.press('Escape')
      await page.waitForTimeout(300)
    }
    await page.getByRole('button', { name: 'Settings' }).click()
    await accessible(`${name}, settings`)
    await shot(`${name}-settings`)
    await page.getByLabel('Longest answer').fill('150')
    await page.getByLabel('Seed').fill('11')
    await page.getByRole('button', { name: 'Save' }).click()
    await say('Once upon a time, there was a little dragon')
    await answered()
    await say('One day, she saw a boat')
    await answered(2)
    await accessible(`${name}, chat`)
    await shot(`${name}-chat`)
    await page.getByRole('button', { name: 'Experts', exact: true }).click()
    await page.locator('.map i').first().waitFor()
    await page.getByRole('option').nth(22).click()
    await page.waitForTimeout(1200)
    await accessible(`${name}, experts`)
    await shot(`${name}-experts`)
    if (name === 'light') {
      await page.getByRole('button', { name: 'Colours: as the system' }).click()
      await page.getByRole('button', { name: 'Colours: light' }).click()
      assert.equal(await page.evaluate(() => document.documentElement.dataset.theme), 'dark')
    }
  }
})
