// The settings of who may call: the mode, clients' credentials, and the tokens of an identity provider.
import { z } from 'zod'

/** At once, so that an old one goes on while a new one is handed out. */
const MOST_AT_ONCE = 4
const ASYMMETRIC = [
  'RS256',
  'RS384',
  'RS512',
  'PS256',
  'PS384',
  'PS512',
  'ES256',
  'ES384',
  'ES512',
  'EdDSA',
  'Ed25519',
] as const

const text = z.string().min(1).max(2048)
const claim = z.string().min(1).max(256)

const jwt = z
  .strictObject({
    issuer: text.describe('What `iss` must be, to the letter.'),
    audience: oneOrMore(text, 16).describe('What `aud` must be, or have in it; one of them.'),
    audienceClaim: claim
      .default('aud')
      .describe('The claim with the audience; Cognito has none in access tokens, only `client_id`.'),
    jwksUrl: z
      .string()
      .refine(isSafeUrl, 'an https URL without user and password (http: on this machine only)')
      .optional()
      .describe("The provider's public keys, fetched when a token asks for them."),
    jwksFile: text.optional().describe('… or a file of them. One of the two.'),
    algorithms: z
      .array(z.enum(ASYMMETRIC))
      .min(1)
      .default(['RS256', 'PS256', 'ES256', 'EdDSA'])
      .describe('Signatures that are taken; by default RS256, PS256, ES256 and EdDSA.'),
    clockSkewS: z.int().min(0).max(300).default(30).describe("How far the provider's clock may be off."),
    clientClaim: oneOrMore(claim, 8)
      .default(['azp', 'client_id'])
      .describe(
        'The first of them that a token has names its client, by `clients[].name` or `clients[].jwtClientIds`; by default `azp`, then `client_id`.',
      ),
    userClaim: claim
      .default('sub')
      .describe(
        'Says who the user is, whatever x-sluice-user says. A token without it may name its users by the header.',
      ),
    priorityClaim: claim
      .optional()
      .describe("`high`, `normal` or `low`: its class and the highest it may ask for, within its client's."),
  })
  .superRefine(({ jwksUrl, jwksFile }, context) => {
    if ((jwksUrl === undefined) !== (jwksFile === undefined)) return
    context.addIssue({ code: 'custom', path: ['jwksUrl'], message: 'one of jwksUrl and jwksFile' })
  })
  .optional()
  .describe('Tokens (JWT) of an identity provider, besides keys. Needs `mode: keys`.')

export const auth = z
  .strictObject({
    mode: z
      .enum(['open', 'keys'])
      .default('open')
      .describe('Who may call. `open`: anyone who can reach the port; `keys`: who shows a credential of a client.'),
    jwt,
  })
  .prefault({})
  .describe('Who is asking.')

const sha256 = z.string().superRefine((value, context) => {
  if (/^[0-9a-f]{64}$/i.test(value)) return
  context.addIssue({ code: 'custom', message: "64 hexadecimal digits, a key's SHA-256 and not the key itself" })
})

const sigv4 = z
  .strictObject({
    accessKeyId: z
      .string()
      .regex(/^\w{16,128}$/, '16 to 128 letters, digits and _')
      .describe('What the app signs with; unique.'),
    secretEnv: z
      .string()
      .regex(/^[A-Za-z_]\w{0,255}$/, 'the name of a variable, never the secret itself')
      .optional()
      .describe('The variable that holds its secret.'),
    secretFile: text.optional().describe('… or the file. One of the two.'),
  })
  .superRefine(({ secretEnv, secretFile }, context) => {
    if ((secretEnv === undefined) !== (secretFile === undefined)) return
    context.addIssue({ code: 'custom', path: ['secretEnv'], message: 'one of secretEnv and secretFile' })
  })

/** Settings of a client. */
export const credentials = {
  keySha256: oneOrMore(sha256, MOST_AT_ONCE)
    .optional()
    .describe('SHA-256 of its key, or of up to 4 keys; `sluice key new` prints one. Read while `auth.mode` is `keys`.'),
  sigv4: oneOrMore(sigv4, MOST_AT_ONCE)
    .optional()
    .describe('An access key of its own for apps that sign, or up to 4. Read while `auth.mode` is `keys`.'),
  jwtClientIds: z
    .array(claim)
    .min(1)
    .max(16)
    .optional()
    .describe('What the client claim of its tokens says; unique. Absent: its name.'),
}

interface Holder {
  name: string
  keySha256?: string[] | undefined
  sigv4?: { accessKeyId: string }[] | undefined
  jwtClientIds?: string[] | undefined
}

/** Nobody could come in, or one credential would be two clients'. */
export function checkAuth(config: { auth: z.infer<typeof auth>; clients: Holder[] }, context: z.RefinementCtx): void {
  const { auth, clients } = config
  const fault = (message: string) => context.addIssue({ code: 'custom', path: ['auth', 'mode'], message })
  if (auth.jwt && auth.mode === 'open') fault('`keys` beside auth.jwt')
  const isHeld = clients.some(one => one.keySha256 || one.sigv4)
  if (auth.mode === 'keys' && !auth.jwt && !isHeld) {
    fault('`open`, or a client with keySha256 or sigv4, or auth.jwt')
  }
  const once = (setting: string, message: string, valuesOf: (one: Holder) => string[] | undefined) => {
    const seen = new Set<string>()
    for (const [i, one] of clients.entries()) {
      for (const value of valuesOf(one) ?? []) {
        if (seen.has(value)) context.addIssue({ code: 'custom', path: ['clients', i, setting], message })
        seen.add(value)
      }
    }
  }
  once('keySha256', 'a key of this client alone', one => one.keySha256?.map(digits => digits.toLowerCase()))
  once('sigv4', 'an accessKeyId of this client alone', one => one.sigv4?.map(key => key.accessKeyId))
  if (auth.jwt) once('jwtClientIds', 'ids, or a name, of this client alone', one => one.jwtClientIds ?? [one.name])
}

/** One may be written without the brackets of a list. Read as a list. */
function oneOrMore<T extends z.ZodType>(one: T, most: number) {
  return z.union([one.transform(value => [value]), z.array(one).min(1).max(most)])
}

function isSafeUrl(value: string): boolean {
  if (!URL.canParse(value)) return false
  const { protocol, hostname, username, password } = new URL(value)
  if (username !== '' || password !== '') return false
  return protocol === 'https:' || (protocol === 'http:' && /^(localhost|127\.\d+\.\d+\.\d+|\[::1\])$/.test(hostname))
}
