/** A node of a ComfyUI workflow. An input is a value, or a link: the id of a node and the number of its output. */
interface Node {
  readonly class_type?: string;
  readonly inputs?: Readonly<Record<string, unknown>>;
}

type Nodes = Readonly<Record<string, Node | undefined>>;

const SOLVERS: Readonly<Record<string, string | undefined>> = {
  ddim: 'ddim',
  ddpm: 'ddpm',
  euler: 'euler',
  heun: 'heun',
  dpmpp_2m: 'dpm2m',
};

/**
 * Parameters, by the names of options, from the `prompt` text that ComfyUI writes into PNG files: those of the first sampler
 * node and of the nodes that its inputs come from. Undefined if there is no such node.
 * Source: ComfyUI, nodes.py: KSampler, CLIPTextEncode, EmptyLatentImage, CheckpointLoaderSimple.
 */
export function fromComfy(text: string): ReadonlyMap<string, string> | undefined {
  const nodes = parsed(text);
  const sampler = Object.values(nodes).find((node) => node?.class_type?.startsWith('KSampler'));
  if (!sampler?.inputs) return undefined;
  const { inputs } = sampler;
  const latent = linked(nodes, inputs.latent_image)?.inputs ?? {};
  const model = inputOf(nodes, inputs.model, ['ckpt_name', 'unet_name']);
  const found: readonly (readonly [string, unknown])[] = [
    ['prompt', inputOf(nodes, inputs.positive, ['text', 'text_g'])],
    ['negativePrompt', inputOf(nodes, inputs.negative, ['text', 'text_g'])],
    ['steps', inputs.steps],
    ['seed', inputs.seed ?? inputs.noise_seed],
    ['guidance', inputs.cfg],
    ['solver', SOLVERS[String(inputs.sampler_name)]],
    ['size', isNumber(latent.width) && isNumber(latent.height) ? `${latent.width}x${latent.height}` : undefined],
    ['model', model?.replace(/^.*[\\/]|\.\w+$/g, '')],
  ];
  return new Map(
    found.flatMap(([name, value]) => (typeof value === 'string' || isNumber(value) ? [[name, String(value)]] : [])),
  );
}

function parsed(text: string): Nodes {
  try {
    // Seeds go up to 2^64, where JavaScript's numbers lose digits.
    const content: unknown = JSON.parse(text.replace(/("(?:noise_)?seed":\s*)(\d{16,20})/g, '$1"$2"'));
    return content !== null && typeof content === 'object' ? (content as Nodes) : {};
  } catch {
    return {};
  }
}

function linked(nodes: Nodes, link: unknown): Node | undefined {
  return Array.isArray(link) ? nodes[String(link[0])] : undefined;
}

/** The first of the named inputs that a linked node has as a text, or one of the nodes before it. */
function inputOf(nodes: Nodes, link: unknown, names: readonly string[], seen = new Set<Node>()): string | undefined {
  const node = linked(nodes, link);
  if (!node?.inputs || seen.has(node)) return undefined;
  seen.add(node);
  const { inputs } = node;
  const text = names.map((name) => inputs[name]).find((value) => typeof value === 'string');
  if (text !== undefined) return text;
  for (const input of [...names.map((name) => inputs[name]), ...Object.values(inputs)]) {
    const found = inputOf(nodes, input, names, seen);
    if (found !== undefined) return found;
  }
  return undefined;
}

function isNumber(value: unknown): value is number {
  return typeof value === 'number' && Number.isFinite(value);
}
