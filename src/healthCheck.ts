// The image's health check: exits 0 when the Sluice of its container answers on its own port, in plain or over TLS, whichever it
// speaks. Reads no config, so that a faulty new one makes nobody ill who runs on the old. How long it may take is for whoever runs it.
import http from 'node:http'
import https from 'node:https'

// Whether the certificate is good for clients is not asked here: it is made out to another name than this.
const at = { host: '127.0.0.1', port: process.env.PORT, path: '/healthz', agent: false, rejectUnauthorized: false }

function isWell(get: typeof http.get | typeof https.get): Promise<boolean> {
  return new Promise(resolve => {
    get(at, ({ statusCode }) => resolve(statusCode === 200)).on('error', () => resolve(false))
  })
}

process.exit((await isWell(http.get)) || (await isWell(https.get)) ? 0 : 1)
