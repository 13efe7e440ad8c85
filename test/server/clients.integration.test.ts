import assert from 'node:assert/strict';
import { test } from 'node:test';
import { messageOf } from '../../src/errors.js';
import { pixelsOf } from '../support/images.js';
import { npmClients } from '../support/npmClients.js';
import { serve } from '../support/serve.js';

const { url } = await serve();
/** The largest that the tiny model draws; clients ask for 512x512 and 1024x1024. */
const LARGEST = 'png 128x128';

async function described(file: Uint8Array): Promise<string> {
  const { format, width, height } = await pixelsOf(file);
  return `${format} ${width}x${height}`;
}

/** The parts of the packages that are used. */
interface Ai {
  readonly generateImage: (
    options: object,
  ) => Promise<{ images: { uint8Array: Uint8Array }[]; image: { uint8Array: Uint8Array } }>;
}
interface OpenAiProvider {
  readonly createOpenAI: (options: object) => { image(model: string): unknown };
}
interface CompatibleProvider {
  readonly createOpenAICompatible: (options: object) => { imageModel(model: string): unknown };
}
interface LangChain {
  readonly DallEAPIWrapper: new (options: object) => { invoke(prompt: string): Promise<string> };
}
interface WebUi {
  readonly default: { readonly default: new (options: object) => WebUiClient };
}
interface WebUiImage {
  toBuffer(): Promise<Buffer>;
}
type WebUiClient = Record<'txt2img' | 'img2img', (options: object) => Promise<{ image: WebUiImage }>> &
  Record<
    'getSamplers' | 'getUpscalers' | 'getSdModels' | 'getHypernetworks' | 'getFaceRestorers' | 'getPromptStyles',
    () => Promise<unknown[]>
  > & {
    setOptions(options: object): Promise<void>;
    getCurrentModel(): Promise<string>;
  };

test('the Vercel AI SDK, LangChain and stable-diffusion-api, from npm, draw with their defaults', async (context) => {
  const load = await npmClients().catch((error: unknown) => {
    context.skip(`SKIPPED, the clients cannot be installed: ${messageOf(error)}`);
  });
  if (!load) return;
  const { generateImage } = (await load('ai')) as Ai;
  const { createOpenAI } = (await load('@ai-sdk/openai')) as OpenAiProvider;
  const openai = createOpenAI({ baseURL: `${url}/v1`, apiKey: 'none' });
  for (const name of ['gpt-image-1', 'dall-e-3', 'dall-e-2', 'sd15']) {
    const { image } = await generateImage({ model: openai.image(name), prompt: 'a red ball', size: '1024x1024' });
    assert.equal(await described(image.uint8Array), LARGEST, name);
  }
  const { createOpenAICompatible } = (await load('@ai-sdk/openai-compatible')) as CompatibleProvider;
  const compatible = createOpenAICompatible({ name: 'srds', baseURL: `${url}/v1` });
  const { images } = await generateImage({ model: compatible.imageModel('sd15'), prompt: 'a red ball', n: 2 });
  const files = images.map(({ uint8Array }) => uint8Array);
  assert.deepEqual(await Promise.all(files.map(described)), ['png 64x64', 'png 64x64']);
  const edited = await generateImage({
    model: openai.image('gpt-image-1'),
    prompt: { text: 'a blue ball', images: files },
    size: '1024x1024',
  });
  assert.equal(await described(edited.image.uint8Array), LARGEST);

  const { DallEAPIWrapper } = (await load('@langchain/openai')) as LangChain;
  const address = await new DallEAPIWrapper({ apiKey: 'none', baseUrl: `${url}/v1` }).invoke('a red ball');
  assert.equal(await described(new Uint8Array(await (await fetch(address)).arrayBuffer())), LARGEST);

  const { default: webUi } = (await load('stable-diffusion-api')) as WebUi;
  const client = new webUi.default({ baseUrl: url });
  const first = await client.txt2img({ prompt: 'a red ball' });
  const second = await client.img2img({ prompt: 'a blue ball', init_images: [first.image] });
  for (const { image } of [first, second]) assert.equal(await described(await image.toBuffer()), LARGEST);
  assert.equal((await client.getSdModels()).length, 1);
  assert.ok((await client.getSamplers()).length > 3);
  for (const name of ['getUpscalers', 'getHypernetworks', 'getFaceRestorers', 'getPromptStyles'] as const) {
    assert.deepEqual(await client[name](), [], name);
  }
  await client.setOptions({ sd_model_checkpoint: 'sd15' });
  assert.equal(await client.getCurrentModel(), 'sd15');
});
