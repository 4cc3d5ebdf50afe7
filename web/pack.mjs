// node pack.mjs FROM TO: the page's files, compressed once for all who ask.
import { readFileSync, writeFileSync } from 'node:fs'
import { gzipSync } from 'node:zlib'

const [from, to] = process.argv.slice(2)
for (const file of ['index.html', 'page.js', 'page.css', 'icon.svg', 'ui.woff2', 'text.woff2']) {
  writeFileSync(`${to}/${file}.gz`, gzipSync(readFileSync(`${from}/${file}`), { level: 9 }))
}
