// How many connections one address may hold open at a time.
import type { Socket } from 'node:net'

export interface AddressBound {
  /** One more is closed at once, before a byte of it is read. */
  most: number
  /** What an address counts as; undefined: it is not counted. */
  countedAs(peer: string): string | undefined
}

export class OpenByAddress {
  readonly #bound: AddressBound | undefined
  readonly #open = new Map<string, number>()

  constructor(bound: AddressBound | undefined) {
    this.#bound = bound
  }

  /** False: there are too many. */
  takes(socket: Socket): boolean {
    if (!this.#bound || socket.remoteAddress === undefined) return true
    const address = this.#bound.countedAs(socket.remoteAddress)
    if (address === undefined) return true
    const open = this.#open.get(address) ?? 0
    if (open >= this.#bound.most) return false
    this.#open.set(address, open + 1)
    socket.once('close', () => this.#leave(address))
    return true
  }

  #leave(address: string): void {
    const open = this.#open.get(address)! - 1
    if (open > 0) this.#open.set(address, open)
    else this.#open.delete(address)
  }
}
