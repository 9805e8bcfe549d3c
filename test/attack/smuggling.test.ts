// Bytes that two readers may take apart in two ways. Whatever Sluice makes of them, Bedrock gets whole, single requests of
// Sluice's own writing or none, the hidden request never, and the next request of the connection is never answered with
// another's answer.
import assert from 'node:assert/strict'
import { after, afterEach, before, test } from 'node:test'
import { answersOf, FLAG, FRAME, frame, headerBlock, OPENING, readFrames } from '../support/http2Frames.ts'
import { startRawUpstream } from '../support/rawUpstream.ts'
import { oneModel, startTestSluice, type TestSluice } from '../support/sluice.ts'
import { type StrictBedrock, startStrictBedrock, valuesOf } from '../support/strictBedrock.ts'
import { callHttp1, callHttp2, HELLO, useTestCredentials } from '../support/wire.ts'
import { conversation } from './conversation.ts'
import { statusesOf } from './fuzz.ts'

let bedrock: StrictBedrock
let sluice: TestSluice

before(async () => {
  useTestCredentials()
  bedrock = await startStrictBedrock()
  sluice = await startTestSluice(
    oneModel(bedrock.url, '', 'server: { headersTimeoutMs: 2000, requestTimeoutMs: 2000 }'),
  )
})

after(async () => {
  await bedrock.close()
  await sluice.stop(0)
})

afterEach(() => {
  const arrived = bedrock.arrived.splice(0)
  const faults = bedrock.faults.splice(0)
  assert.deepEqual(faults, [], 'Bedrock got nothing but whole requests, signed by Sluice')
  const hidden = arrived.filter(({ url, headers, body }) => `${url} ${headers} ${body}`.includes('any.hidden'))
  assert.deepEqual(hidden, [], 'the hidden request never came through')
  assert.deepEqual(
    sluice.logged().filter(line => line.msg === 'fault'),
    [],
  )
})

const request = (name: string, headers: string, body: string, version = 'HTTP/1.1') =>
  `POST /model/any.${name}/converse ${version}\r\nHost: h\r\n${headers}\r\n\r\n${body}`
const HIDDEN = request('hidden', 'Content-Length: 2', '{}')
const NEXT = request('next', `Content-Length: ${HELLO.length}`, HELLO)
const chunked = (coding: string, body = `0\r\n\r\n${HIDDEN}`) => request('first', coding, body)

const REFUSED: Record<string, string> = {
  'CL.TE': chunked('Content-Length: 4\r\nTransfer-Encoding: chunked'),
  'TE.CL': chunked(`Transfer-Encoding: chunked\r\nContent-Length: ${HIDDEN.length + 5}`),
  'CL.TE with a length of zero': chunked('Content-Length: 0\r\nTransfer-Encoding: chunked', HIDDEN),
  'a space before the colon': chunked('Transfer-Encoding : chunked'),
  'a tab before the colon': chunked('Transfer-Encoding\t: chunked'),
  'a coding that only looks chunked': chunked('Transfer-Encoding: xchunked'),
  'a vertical tab before chunked': chunked('Transfer-Encoding: \x0bchunked'),
  'a form feed after chunked': chunked('Transfer-Encoding: chunked\x0c'),
  'a null byte in chunked': chunked('Transfer-Encoding: chu\0nked'),
  'chunked in quotes': chunked('Transfer-Encoding: "chunked"'),
  'chunked that is not last': chunked('Transfer-Encoding: chunked, identity'),
  'chunked twice in one header': chunked('Transfer-Encoding: chunked, chunked'),
  'chunked, then another coding in a second header': chunked(
    'Transfer-Encoding: chunked\r\nTransfer-Encoding: identity',
  ),
  'a folded coding': chunked('Transfer-Encoding:\r\n chunked'),
  'a folded header before the coding': chunked('X-A: b\r\n Transfer-Encoding: chunked\r\nContent-Length: 5'),
  'a header that begins with a space': chunked(' Transfer-Encoding: chunked'),
  'a coding behind a bare LF': chunked('X-A: b\nTransfer-Encoding: chunked'),
  'a coding behind a bare CR': chunked('X-A: b\rTransfer-Encoding: chunked'),
  'the end of the head by bare LFs': `POST /model/any.first/converse HTTP/1.1\nHost: h\nContent-Length: 0\n\n${HIDDEN}`,
  'two lengths that differ': request(
    'first',
    `Content-Length: 2\r\nContent-Length: ${HIDDEN.length + 2}`,
    `{}${HIDDEN}`,
  ),
  'two lengths that agree': request('first', 'Content-Length: 2\r\nContent-Length: 2', `{}${HIDDEN}`),
  'two lengths in one header': request('first', 'Content-Length: 2, 2', `{}${HIDDEN}`),
  'a negative length': request('first', 'Content-Length: -2', HIDDEN),
  'a length with a plus': request('first', 'Content-Length: +2', `{}${HIDDEN}`),
  'a length in hex': request('first', 'Content-Length: 0x2', `{}${HIDDEN}`),
  'a length beyond 64 bits': request('first', 'Content-Length: 18446744073709551618', `{}${HIDDEN}`),
  'a length with a space in it': request('first', 'Content-Length: 2 2', `{}${HIDDEN}`),
  'a name with an underscore and a length': request('first', 'Content-Length : 2', `{}${HIDDEN}`),
  'a chunk size with a sign': chunked('Transfer-Encoding: chunked', `+2\r\n{}\r\n0\r\n\r\n${HIDDEN}`),
  'a chunk size with 0x': chunked('Transfer-Encoding: chunked', `0x2\r\n{}\r\n0\r\n\r\n${HIDDEN}`),
  'a chunk size beyond 64 bits': chunked('Transfer-Encoding: chunked', `10000000000000002\r\n{}\r\n0\r\n\r\n${HIDDEN}`),
  'a chunk line ended by a bare LF': chunked('Transfer-Encoding: chunked', `2\n{}\r\n0\r\n\r\n${HIDDEN}`),
  'a chunk extension ended by a bare LF': chunked('Transfer-Encoding: chunked', `2;\n{}\r\n0\r\n\r\n${HIDDEN}`),
  'a chunk longer than it says': chunked('Transfer-Encoding: chunked', `2\r\n{}xx\r\n0\r\n\r\n${HIDDEN}`),
  'chunked in HTTP/1.0': request(
    'first',
    'Transfer-Encoding: chunked\r\nConnection: keep-alive',
    `0\r\n\r\n${HIDDEN}`,
    'HTTP/1.0',
  ),
  'a host and no version': `POST /model/any.first/converse\r\nHost: h\r\n\r\n${HIDDEN}`,
  'trailers that declare a length': chunked(
    'Transfer-Encoding: chunked',
    `2\r\n{}\r\n0\r\nContent-Length: ${HIDDEN.length}\r\n\r\n${HIDDEN}`,
  ),
  'two hosts': request('first', 'Host: other\r\nContent-Length: 0', HIDDEN),
  'a request line in the target': `POST /model/any.first/converse HTTP/1.1\tHTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n${HIDDEN}`,
  'a host that is missing': `POST /model/any.first/converse HTTP/1.1\r\nContent-Length: 0\r\n\r\n${HIDDEN}`,
}

for (const [what, bytes] of Object.entries(REFUSED)) {
  test(`${what}: refused, hung up on, and what came behind it is not read`, async () => {
    const text = (await conversation(sluice.url, [bytes + NEXT])).toString('latin1')
    assert.deepEqual(statusesOf(text), text === '' ? [] : [400], text)
    assert.deepEqual(bedrock.arrived, [])
  })
}

const DOUBTFUL: Record<string, string> = {
  'two hosts': 'GET /healthz HTTP/1.1\r\nHost: h\r\nHost: other\r\n\r\n',
  'no host': 'GET /healthz HTTP/1.1\r\n\r\n',
  'chunks in HTTP/1.0':
    'GET /metrics HTTP/1.0\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n',
  'an expectation nobody knows, and two hosts': request(
    'first',
    'Host: other\r\nExpect: nonsense\r\nContent-Length: 2',
    '{}',
  ),
}

for (const [what, bytes] of Object.entries(DOUBTFUL)) {
  test(`${what}, on whatever path: refused in the shape of all refusals, and nothing behind it is served`, async () => {
    const text = (await conversation(sluice.url, [bytes, bytes, NEXT])).toString('latin1')
    assert.deepEqual(statusesOf(text), [400], text)
    assert.match(text, /x-sluice-refusal: malformed-request/)
    assert.deepEqual(bedrock.arrived, [])
  })
}

const LOOKS = `{"messages":[],"a":"GET /model/any.x/converse HTTP/1.1"}`
/** Bytes that can be read in one way only, however odd: one call, and the next request gets its own answer. */
const SERVED: Record<string, { bytes: string; body: string }> = {
  'a chunk extension': { bytes: chunked('Transfer-Encoding: chunked', '2;a=b\r\n{}\r\n0\r\n\r\n'), body: '{}' },
  'an empty line before the request': { bytes: `\r\n${request('first', 'Content-Length: 2', '{}')}`, body: '{}' },
  'an expectation nobody knows, which is not a must': {
    bytes: request('first', 'Expect: nonsense\r\nContent-Length: 2', '{}'),
    body: '{}',
  },
  'chunked in capitals': { bytes: chunked('Transfer-Encoding: CHUNKED', '2\r\n{}\r\n0\r\n\r\n'), body: '{}' },
  'HTTP/1.0 that keeps alive': {
    bytes: request('first', 'Content-Length: 2\r\nConnection: keep-alive', '{}', 'HTTP/1.0'),
    body: '{}',
  },
  'a length with zeros in front': { bytes: request('first', 'Content-Length: 0002', '{}'), body: '{}' },
  'a body that looks like a request': {
    bytes: request('first', `Content-Length: ${LOOKS.length}`, LOOKS),
    body: LOOKS,
  },
  'two spaces in the request line': {
    bytes: request('first', 'Content-Length: 2', '{}').replace('POST ', 'POST  '),
    body: '{}',
  },
  'Connection that names the length and Sluice headers': {
    bytes: request(
      'first',
      'Connection: content-length, x-sluice-user, authorization, host, x-amz-date\r\nContent-Length: 2',
      '{}',
    ),
    body: '{}',
  },
}

for (const [what, { bytes, body }] of Object.entries(SERVED)) {
  test(`${what}: one call with its body, and the next request has the answer to itself`, async () => {
    const text = (await conversation(sluice.url, [bytes, NEXT], 2)).toString('latin1')
    assert.deepEqual(statusesOf(text), [200, 200], text)
    // Pipelined, they are sent side by side; their answers come back in the order of the requests.
    assert.deepEqual(bedrock.arrived.map(one => [one.url, one.body.toString()]).sort(), [
      ['/model/any.first/converse', body],
      ['/model/any.next/converse', HELLO],
    ])
    const answered = [...text.matchAll(/x-answers: (\S+)/gi)].map(match => match[1])
    assert.deepEqual(answered, ['/model/any.first/converse', '/model/any.next/converse'])
    for (const { headers } of bedrock.arrived) {
      assert.equal(valuesOf(headers, 'x-sluice-user').length, 0)
      assert.equal(valuesOf(headers, 'host')[0], new URL(bedrock.url).host)
    }
  })
}

for (const target of ['http://evil.example/model/any.first/converse', '//evil.example/model/any.first/converse', '*']) {
  test(`the target ${target} names no route: 404 or 405, and the next request has its own answer`, async () => {
    const bytes = `POST ${target} HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\n{}`
    const text = (await conversation(sluice.url, [bytes, NEXT], 2)).toString('latin1')
    assert.deepEqual(statusesOf(text), [404, 200])
    assert.deepEqual(
      bedrock.arrived.map(one => one.url),
      ['/model/any.next/converse'],
    )
  })
}

const PSEUDO = (path = '/model/any.first/converse'): [string, string][] => [
  [':method', 'POST'],
  [':scheme', 'http'],
  [':authority', 'h'],
  [':path', path],
]
const stream = (id: number, head: [string, string][], body = '{}') => [
  frame(FRAME.headers, FLAG.endHeaders, id, headerBlock(head)),
  frame(FRAME.data, FLAG.endStream, id, Buffer.from(body)),
]
const good = stream(3, [...PSEUDO('/model/any.next/converse'), ['content-type', 'application/json']], HELLO)

const HTTP2: Record<string, Buffer[]> = {
  'a length shorter than the body': stream(1, [...PSEUDO(), ['content-length', '2']], `{}${HIDDEN}`),
  'a length longer than the body': stream(1, [...PSEUDO(), ['content-length', '999']]),
  'a length that is no number': stream(1, [...PSEUDO(), ['content-length', '2, 2']]),
  'two lengths': stream(1, [...PSEUDO(), ['content-length', '2'], ['content-length', '50']]),
  'a transfer-encoding': stream(1, [...PSEUDO(), ['transfer-encoding', 'chunked']], `0\r\n\r\n${HIDDEN}`),
  'a connection header': stream(1, [...PSEUDO(), ['connection', 'transfer-encoding']]),
  'a name in capitals': stream(1, [...PSEUDO(), ['Transfer-Encoding', 'chunked']]),
  'CRLF in the path': stream(1, PSEUDO(`/model/any.first/converse HTTP/1.1\r\n\r\n${HIDDEN}`)),
  'a space in the path': stream(1, PSEUDO('/model/any.first/converse HTTP/1.1')),
  'a path without a slash': stream(1, PSEUDO('@evil.example/model/any.first/converse')),
  'a path without a slash, of no HTTP scheme': stream(1, [
    [':method', 'POST'],
    [':scheme', 'x'],
    [':authority', 'h'],
    [':path', '@evil.example/model/any.first/converse'],
  ]),
  'CRLF in the method': stream(1, [[':method', `POST / HTTP/1.1\r\n\r\n${HIDDEN}`], ...PSEUDO().slice(1)]),
  'CRLF in the authority': stream(1, [...PSEUDO().slice(0, 2), [':authority', 'h\r\nx: y'], ...PSEUDO().slice(3)]),
  'a pseudo-header twice': stream(1, [...PSEUDO(), [':path', '/model/any.hidden/converse']]),
  'a pseudo-header behind the others': stream(1, [...PSEUDO(), ['x', 'y'], [':path', '/model/any.hidden/converse']]),
}

for (const [what, frames] of Object.entries(HTTP2)) {
  test(`HTTP/2, ${what}: not forwarded, and its neighbour has its own answer or the session ends`, async () => {
    const came = await conversation(sluice.url, [OPENING, ...frames, ...good])
    const answers = answersOf(readFrames(came))
    for (const { stream: id, status } of answers)
      assert.ok(id === 3 ? status === 200 : status >= 400 && status < 500, `stream ${id} was answered ${status}`)
    const isClosed = readFrames(came).some(one => one.type === FRAME.goAway)
    assert.ok(isClosed || answers.some(one => one.stream === 3), 'answered or closed')
    assert.ok(
      bedrock.arrived.every(one => one.url === '/model/any.next/converse'),
      `${bedrock.arrived[0]?.url}`,
    )
  })
}

/** nghttp2 leaves such a header out, and the request is served as if it had never been there. */
const LEFT_OUT: Record<string, Buffer[]> = {
  'CRLF in a value': stream(1, [...PSEUDO(), ['x-a', `b\r\nTransfer-Encoding: chunked\r\n\r\n${HIDDEN}`]]),
  'a bare LF in a value': stream(1, [...PSEUDO(), ['x-a', 'b\nContent-Length: 0']]),
  'a bare CR in a value': stream(1, [...PSEUDO(), ['x-a', 'b\rContent-Length: 0']]),
  'a null byte in a value': stream(1, [...PSEUDO(), ['x-a', 'b\0c']]),
  'CRLF in a name': stream(1, [...PSEUDO(), ['x-a: b\r\ntransfer-encoding', 'chunked']]),
  'a colon in a name': stream(1, [...PSEUDO(), ['transfer-encoding: chunked', 'x']]),
}

for (const [what, frames] of Object.entries(LEFT_OUT)) {
  test(`HTTP/2, ${what}: Bedrock sees nothing of that header`, async () => {
    const came = await conversation(sluice.url, [OPENING, ...frames])
    assert.ok(answersOf(readFrames(came)).every(one => one.status === 200 || one.status === 400))
    assert.ok(bedrock.arrived.length <= 1)
    for (const { headers, body } of bedrock.arrived) {
      assert.equal(body.toString(), '{}')
      assert.ok(
        !headers.some(([name]) => name.startsWith('x-a:') || name === 'x-a' || name.startsWith('transfer')),
        `${headers}`,
      )
    }
  })
}

test('HTTP/2: CONNECT is a request for no known path, and an expectation nobody knows is left unread', async () => {
  const connect: [string, string][] = [
    [':method', 'CONNECT'],
    [':authority', 'evil.example:443'],
  ]
  const expecting: [string, string][] = [...PSEUDO('/model/any.next/converse'), ['expect', 'nonsense']]
  const came = await conversation(sluice.url, [OPENING, ...stream(1, connect), ...stream(3, expecting, HELLO)])
  assert.deepEqual(
    answersOf(readFrames(came)).sort((a, b) => a.stream - b.stream),
    [
      { stream: 1, status: 404 },
      { stream: 3, status: 200 },
    ],
  )
  const refused = sluice.logged().filter(line => line.msg === 'refused')
  assert.equal(refused.at(-1)?.refusal, 'unknown-route')
})

test('HTTP/2: a host beside the authority, and headers that are the way of HTTP/1.1, do not reach Bedrock', async () => {
  const head: [string, string][] = [...PSEUDO(), ['host', 'evil.example'], ['te', 'trailers'], ['content-length', '2']]
  const came = await conversation(sluice.url, [OPENING, ...stream(1, head)])
  assert.deepEqual(answersOf(readFrames(came)), [{ stream: 1, status: 200 }])
  assert.equal(bedrock.arrived.length, 1)
  assert.deepEqual(valuesOf(bedrock.arrived[0]!.headers, 'host'), [new URL(bedrock.url).host])
  assert.deepEqual(valuesOf(bedrock.arrived[0]!.headers, 'te'), [])
})

const answer = (text: string) =>
  `HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: ${text.length}\r\n\r\n${text}`
const TWICE: Record<string, string> = {
  'a second answer behind the first': answer('{"a":1}') + answer('{"for":"nobody"}'),
  'bytes behind its answer': `${answer('{"a":1}')}{"for":"nobody"}`,
  'an answer with a length and chunks': `HTTP/1.1 200 OK\r\nContent-Length: 7\r\nTransfer-Encoding: chunked\r\n\r\n7\r\n{"a":1}\r\n0\r\n\r\n${answer('{"for":"nobody"}')}`,
}

for (const [what, bytes] of Object.entries(TWICE)) {
  test(`a Bedrock that sends ${what}: nobody else is given what was for nobody`, async () => {
    const upstream = await startRawUpstream((socket, count) => socket.write(count === 1 ? bytes : answer('{"a":2}')))
    const other = await startTestSluice(oneModel(upstream.url, '', 'upstream: { maxConnections: 1 }'))
    const replies = [await callHttp1(other.url), await callHttp1(other.url), await callHttp2(other.url)]
    await other.stop(0)
    await upstream.close()
    for (const { body } of replies) assert.ok(!body.includes('nobody'), body.toString())
    assert.equal(replies[2]!.body.toString(), '{"a":2}')
  })
}
