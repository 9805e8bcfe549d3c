// For `node --import`: writes to standard error what of OpenTelemetry's SDK a process loads, by import or by require. Its
// bare interfaces, which prom-client loads, are not the SDK.
import { registerHooks } from 'node:module'

registerHooks({
  load(url, context, next) {
    if (/\/@opentelemetry\/(?!api\/)|\/tracingSdk/.test(url)) process.stderr.write(`loaded ${url}\n`)
    return next(url, context)
  },
})
