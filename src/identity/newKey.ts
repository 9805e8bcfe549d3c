// What `sluice key new` prints: a credential, this once, and the lines of the config that let it in.
import { type Chance, keySha256, newKey, newSigningKey } from './keys.ts'

export function newKeyText(client: string, isSigV4: boolean, chance: Chance): string {
  return isSigV4 ? signingKeyText(client, chance) : keyText(client, chance)
}

function keyText(client: string, chance: Chance): string {
  const key = newKey(chance)
  return `The key of ${client}. It is shown this once; the config holds its hash alone.

  ${key}

For the app, as AWS_BEARER_TOKEN_BEDROCK (every AWS SDK; boto3, Go and .NET send it over https only),
or as the apiKey of any other SDK.
For the config of Sluice:

auth: { mode: keys }
clients:
  - name: "${client}"
    keySha256: "${keySha256(key)}"`
}

function signingKeyText(client: string, chance: Chance): string {
  const { accessKeyId, secret } = newSigningKey(chance)
  const variable = `SLUICE_SECRET_${client.toUpperCase().replace(/[^A-Z0-9]/g, '_')}`
  return `The access key of ${client}. Its secret is shown this once, and stands in no config.

For the app:

AWS_ACCESS_KEY_ID=${accessKeyId}
AWS_SECRET_ACCESS_KEY=${secret}

For the environment of Sluice (or a file: secretFile in place of secretEnv):

${variable}=${secret}

For the config of Sluice:

auth: { mode: keys }
clients:
  - name: "${client}"
    sigv4: { accessKeyId: ${accessKeyId}, secretEnv: ${variable} }`
}
