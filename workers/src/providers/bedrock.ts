// The provider for Amazon Bedrock: chats with every model that Converse knows, whole or streamed, with
// tools, images, documents and reasoning.
import { bedrockClient } from './bedrock-client.ts'
import { bedrockError } from './bedrock-errors.ts'
import { modelId } from './bedrock-models.ts'
import { completionOf, translateConverse } from './bedrock-reply.ts'
import { converseInput } from './bedrock-request.ts'
import { chatOnly } from './canonical-parameters.ts'
import type { Provider, ProviderCall, ProviderResult } from './provider.ts'
import type { TableEntry } from './table.ts'

const provider: Provider = {
  async run(call) {
    chatOnly(call)
    const input = converseInput(call)
    try {
      return await converse(call, input)
    } catch (error) {
      call.signal.throwIfAborted()
      throw bedrockError(error)
    }
  },
}

export const bedrock: TableEntry = {
  provider,
  prefixes: ['bedrock', 'bedrock_converse'],
  extensions: ['thinking', 'cache_control'],
  // Bare ids as AWS writes them, with or without the geography of an inference profile.
  owns: /^(?:(?:apac|au|ca|eu|global|jp|us|us-gov)\.)?(?:ai21|amazon|anthropic|cohere|deepseek|meta|mistral|openai|qwen)\./,
  modelName: modelId,
  slots: 64,
  locality: 'cloud',
  apiKeyEnv: 'AWS_BEARER_TOKEN_BEDROCK',
  // LiteLLM's; the SDK reads AWS_REGION and the rest of AWS's own itself.
  defaultsEnv: {
    aws_region_name: 'AWS_REGION_NAME',
    aws_bedrock_runtime_endpoint: 'AWS_BEDROCK_RUNTIME_ENDPOINT',
  },
  pricesAs: 'aws',
}

async function converse(
  call: ProviderCall,
  input: ReturnType<typeof converseInput>,
): Promise<ProviderResult> {
  const { sdk, client } = await bedrockClient(call)
  if (!call.stream) {
    const command = new sdk.ConverseCommand(input)
    const output = await client.send(command, { abortSignal: call.signal })
    const { body, usage } = completionOf(output, input.modelId ?? call.model)
    return { body: Buffer.from(JSON.stringify(body)), usage }
  }
  // The SDK does not close a stream that is not read to its end: the answer would go on for nobody.
  const ours = new AbortController()
  const abortSignal = AbortSignal.any([call.signal, ours.signal])
  const command = new sdk.ConverseStreamCommand(input)
  try {
    const { stream } = await client.send(command, { abortSignal })
    return { body: null, usage: await translateConverse(call, stream ?? nothing()) }
  } catch (error) {
    ours.abort()
    throw error
  }
}

async function* nothing(): AsyncGenerator<never> {}
