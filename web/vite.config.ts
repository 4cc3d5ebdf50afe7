import { defineConfig } from 'vite'

// One script and one style sheet under fixed names: the server tells versions apart by their content.
export default defineConfig({
  base: '/',
  esbuild: { jsx: 'automatic', jsxImportSource: 'preact', legalComments: 'none' },
  build: {
    target: 'es2021',
    modulePreload: false,
    cssCodeSplit: false,
    assetsInlineLimit: 0,
    rollupOptions: {
      output: {
        inlineDynamicImports: true,
        entryFileNames: 'page.js',
        assetFileNames: (asset) => {
          const name = asset.names[0] ?? ''
          if (name.endsWith('.css')) return 'page.css'
          if (name.startsWith('figtree')) return 'ui.woff2'
          if (name.startsWith('newsreader')) return 'text.woff2'
          return '[name][extname]'
        },
      },
    },
  },
  // npm run dev: the page from here, answers from a server that runs.
  server: {
    proxy: Object.fromEntries(
      ['/v1', '/tokenize', '/health'].map((path) => [
        path,
        { target: process.env.OCTET_URL ?? 'http://127.0.0.1:8080', headers: { origin: '', host: 'localhost' } },
      ]),
    ),
  },
})
