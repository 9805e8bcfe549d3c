// How much memory bytes in passing may take. Every read from a socket has a buffer of its own, up to 64 KB outside V8's
// heap, and it is garbage as soon as the client has its bytes. V8 counts such bytes only against a bound of 128 MB in young
// buffers, and a collection for any other reason is rare, because a stream leaves little else behind: so tens of megabytes
// of dead buffers would pile up behind the first large answers, and the process would keep that size.
import { setFlagsFromString } from 'node:v8'

/** V8 doubles this twice: a cheap, young collection every 8 MB read. Ordinary calls are collected sooner than that anyway. */
const CAPACITY_MB = 2

/** For the whole process. The size of V8's own young generation was settled at its start, and stays. */
export function boundReadBuffers(): void {
  setFlagsFromString(`--scavenger-max-new-space-capacity-mb=${CAPACITY_MB}`)
}
