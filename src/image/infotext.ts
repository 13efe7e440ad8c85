/** Names and values of settings, in the order in which they are written. */
export type Parameters = readonly (readonly [name: string, value: string | number | boolean])[];

/**
 * Generation parameters in the text format that Stable Diffusion web UIs write to images and read from them.
 * Source: AUTOMATIC1111 stable-diffusion-webui, infotext_utils.
 */
export function infotext(prompt: string, negativePrompt: string | undefined, parameters: Parameters): string {
  const lines = [prompt];
  if (negativePrompt) lines.push(`Negative prompt: ${negativePrompt}`);
  lines.push(parameters.map(([name, value]) => `${name}: ${quoted(String(value))}`).join(', '));
  return lines.join('\n');
}

function quoted(value: string): string {
  return /[,:\n"]/.test(value) ? JSON.stringify(value) : value;
}
