/** A setting's label and value, in the order in which they are written. */
export type Parameters = readonly (readonly [label: string, value: string | number | boolean])[];

/**
 * Generation parameters in the text form that Stable Diffusion web UIs write into images and read from them.
 * Source: AUTOMATIC1111 stable-diffusion-webui, infotext_utils.
 */
export function infotext(prompt: string, negativePrompt: string | undefined, parameters: Parameters): string {
  const lines = [prompt];
  if (negativePrompt) lines.push(`${NEGATIVE}${negativePrompt}`);
  lines.push(parameters.map(([label, value]) => `${label}: ${quoted(String(value))}`).join(', '));
  return lines.join('\n');
}

const NEGATIVE = 'Negative prompt: ';
/** Longer lines of parameters are cut, so that a hostile file cannot keep a reader busy. */
const MAX_PARAMETERS = 10_000;

/** Generation parameters as `parseInfotext` reads them. */
export interface Infotext {
  readonly prompt: string;
  readonly negativePrompt: string;
  /** Values by their labels. */
  readonly parameters: ReadonlyMap<string, string>;
}

/** Reads what `infotext` wrote, or what a web UI did. The last line, if it is not the only one, holds the parameters. */
export function parseInfotext(text: string): Infotext {
  const lines = text.split('\n');
  const last = lines.length > 1 ? (lines.pop() ?? '').slice(0, MAX_PARAMETERS) : '';
  const found = lines.findIndex((line) => line.startsWith(NEGATIVE));
  const negativeAt = found < 0 ? lines.length : found;
  const parameters = new Map<string, string>();
  for (const match of last.matchAll(/([^:,]+): (?:"((?:[^"\\]|\\.)*)"|([^,]*))(?:, |$)/g)) {
    const [, label, inQuotes, plain] = match as unknown as [string, string, string | undefined, string | undefined];
    parameters.set(label.trim(), inQuotes === undefined ? (plain ?? '') : unquoted(inQuotes));
  }
  return {
    prompt: lines.slice(0, negativeAt).join('\n'),
    negativePrompt: lines.slice(negativeAt).join('\n').replace(NEGATIVE, ''),
    parameters,
  };
}

function quoted(value: string): string {
  return /[,:\n"]/.test(value) ? JSON.stringify(value) : value;
}

function unquoted(text: string): string {
  try {
    return JSON.parse(`"${text}"`) as string;
  } catch {
    return text;
  }
}
