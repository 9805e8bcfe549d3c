// Protocol Buffers as they are on the wire, without a schema: field numbers and bare values
// (https://protobuf.dev/programming-guides/encoding/).

export class Message {
  readonly #fields = new Map<number, (bigint | Buffer)[]>()

  constructor(bytes: Buffer) {
    let at = 0
    const varint = (): bigint => {
      let value = 0n
      for (let shift = 0n; ; shift += 7n) {
        const byte = bytes.readUInt8(at++)
        value |= BigInt(byte & 0x7f) << shift
        if (byte < 0x80) return value
      }
    }
    const take = (count: number): Buffer => {
      if (at + count > bytes.length) throw new Error('a field runs over the end')
      at += count
      return bytes.subarray(at - count, at)
    }
    const value = (wireType: number): bigint | Buffer => {
      if (wireType === 0) return varint()
      if (wireType === 1) return take(8)
      if (wireType === 2) return take(Number(varint()))
      if (wireType === 5) return take(4)
      throw new Error(`wire type ${wireType}`)
    }
    while (at < bytes.length) {
      const tag = Number(varint())
      const values = this.#fields.get(tag >> 3) ?? []
      values.push(value(tag & 7))
      this.#fields.set(tag >> 3, values)
    }
  }

  bytes(field: number): Buffer | undefined {
    const value = this.#fields.get(field)?.at(-1)
    return Buffer.isBuffer(value) ? value : undefined
  }

  text(field: number): string {
    return this.bytes(field)?.toString() ?? ''
  }

  hex(field: number): string {
    return this.bytes(field)?.toString('hex') ?? ''
  }

  integer(field: number): number | undefined {
    const value = this.#fields.get(field)?.at(-1)
    return typeof value === 'bigint' ? Number(value) : undefined
  }

  messages(field: number): Message[] {
    return (this.#fields.get(field) ?? []).map(value => new Message(value as Buffer))
  }
}
