// The AWS SDK's client of a deployment: made at its first call, kept as long as the deployment. The
// SDK itself is loaded with the first of them, so that a worker without Bedrock never pays for it.
import type { BedrockRuntimeClient } from '@aws-sdk/client-bedrock-runtime'
import type { Deployment } from '@penstock/shared/config/deployment'
import { PenstockError } from '@penstock/shared/contracts/errors'
import { z } from 'zod'
import { sdkHandler } from './bedrock-http.ts'
import { regionOf } from './bedrock-models.ts'
import type { ProviderCall } from './provider.ts'

export type Sdk = typeof import('@aws-sdk/client-bedrock-runtime')

export interface BedrockClient {
  sdk: Sdk
  client: BedrockRuntimeClient
}

const text = z.string().trim().min(1).nullish().catch(null)

/** LiteLLM's parameters; a deployment's only, never a request's. */
const settings = z.object({
  aws_access_key_id: text,
  aws_secret_access_key: text,
  aws_session_token: text,
  aws_region_name: text,
  aws_profile_name: text,
  aws_bedrock_runtime_endpoint: text,
  aws_role_name: text,
  aws_web_identity_token: text,
})
type Settings = z.infer<typeof settings>

/** Regions of one deployment; more than one only where requests name models with regions. */
const maxClients = 32
const clients = new WeakMap<Deployment, Map<string, BedrockRuntimeClient>>()
let loading: Promise<Sdk> | null = null

/**
 * @throws PenstockError `upstream_unreachable` when no region is known, `upstream_auth_failed` for
 *   credentials that are not understood
 */
export async function bedrockClient(call: ProviderCall): Promise<BedrockClient> {
  loading ??= import('@aws-sdk/client-bedrock-runtime')
  const sdk = await loading
  const { deployment } = call
  const given = settings.parse(deployment.defaults)
  const region = regionOf(call.model) ?? regionOf(bare(deployment.model)) ?? given.aws_region_name
  const known = clients.get(deployment) ?? new Map<string, BedrockRuntimeClient>()
  clients.set(deployment, known)
  const kept = known.get(region ?? '')
  if (kept !== undefined) return { sdk, client: kept }
  const client = newClient(sdk, deployment, given, region ?? null)
  await checkRegion(client)
  if (known.size >= maxClients) known.clear()
  known.set(region ?? '', client)
  return { sdk, client }
}

function newClient(sdk: Sdk, deployment: Deployment, given: Settings, region: string | null) {
  const endpoint = given.aws_bedrock_runtime_endpoint ?? deployment.apiBase
  return new sdk.BedrockRuntimeClient({
    // The router retries, and knows where else.
    maxAttempts: 1,
    requestHandler: sdkHandler(deployment.extraHeaders),
    ...(region === null ? {} : { region }),
    ...(endpoint === null ? {} : { endpoint }),
    ...identityOf(given, deployment.apiKey),
  })
}

/** The deployment's keys, profile or Bedrock API key; else AWS's default chain. */
function identityOf(given: Settings, apiKey: string | null) {
  const {
    aws_access_key_id: accessKeyId,
    aws_secret_access_key: secretAccessKey,
    aws_session_token: sessionToken,
    aws_profile_name: profile,
  } = given
  if (given.aws_role_name || given.aws_web_identity_token) {
    const message =
      'aws_role_name and aws_web_identity_token are not acted on: put role_arn into a profile of the AWS config file and name it in aws_profile_name.'
    throw new PenstockError('upstream_auth_failed', message)
  }
  if (accessKeyId && secretAccessKey) {
    const session = sessionToken ? { sessionToken } : {}
    return { credentials: { accessKeyId, secretAccessKey, ...session } }
  }
  if (accessKeyId || secretAccessKey) {
    const message = 'aws_access_key_id and aws_secret_access_key are set only together.'
    throw new PenstockError('upstream_auth_failed', message)
  }
  if (profile) return { profile }
  if (apiKey === null) return {}
  return { token: { token: apiKey }, authSchemePreference: ['httpBearerAuth'] }
}

async function checkRegion(client: BedrockRuntimeClient): Promise<void> {
  try {
    await client.config.region()
  } catch (cause) {
    const message = 'The AWS region is missing: set aws_region_name, AWS_REGION_NAME or AWS_REGION.'
    throw new PenstockError('upstream_unreachable', message, { cause })
  }
}

/** `bedrock/us-west-2/…` → `us-west-2/…` */
function bare(model: string): string {
  return model.slice(model.indexOf('/') + 1)
}
