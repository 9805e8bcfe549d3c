// Connections that have had their last answer. Node goes on parsing what still comes there, and would have it served: nothing
// more is taken from them.
import type { Request } from '../transport/onePort.ts'

const closing = new WeakSet<object>()

/** `socket`: of HTTP/1. */
export function takeNoMoreFrom(socket: object): void {
  closing.add(socket)
}

/** It came, or its end did, behind the last answer. HTTP/2 has its own ways to end. */
export function isTooLate({ httpVersionMajor, socket }: Request): boolean {
  return httpVersionMajor === 1 && closing.has(socket)
}
