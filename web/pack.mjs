// node pack.mjs FROM TO: the page's files, compressed once for all who ask, and the licences of what is in them.
import { readFileSync, readdirSync, writeFileSync } from 'node:fs'
import { gzipSync } from 'node:zlib'

/** The packages the page is made of, each with its licence. */
function licences() {
  const texts = new Map()
  const add = (name) => {
    if (texts.has(name) || name.startsWith('@types/')) return
    const folder = `node_modules/${name}`
    const { version, dependencies } = JSON.parse(readFileSync(`${folder}/package.json`))
    const file = readdirSync(folder).find((f) => /^(licen[cs]e|ofl)/i.test(f))
    texts.set(name, `${name} ${version}\n\n${file ? readFileSync(`${folder}/${file}`, 'utf8').trim() : ''}\n`)
    for (const below of Object.keys(dependencies ?? {})) add(below)
  }
  for (const name of Object.keys(JSON.parse(readFileSync('package.json')).dependencies)) add(name)
  return [...texts.values()].join(`\n${'-'.repeat(80)}\n\n`)
}

const [from, to] = process.argv.slice(2)
writeFileSync(`${from}/licences.txt`, licences())
for (const file of ['index.html', 'page.js', 'page.css', 'icon.svg', 'ui.woff2', 'text.woff2', 'licences.txt']) {
  writeFileSync(`${to}/${file}.gz`, gzipSync(readFileSync(`${from}/${file}`), { level: 9 }))
}
