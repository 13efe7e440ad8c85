import type { Info } from '../../src/server/infoAnswer.js';
import { fromComfy } from './comfy.js';
import { fromHash, fromInfotext, fromOptions, leftOut } from './parameters.js';
import { adopt } from './settings.js';

/**
 * Takes the parameters of an image that this program, a Stable Diffusion web UI or ComfyUI has written.
 * @returns what was not taken, in words; undefined if the file has no parameters
 */
export async function restoreFromFile(file: Blob, info: Info): Promise<string | undefined> {
  // What reads them is as large as the rest of the page.
  const { imageTexts } = await import('../../src/image/imageTexts.js');
  const texts = await imageTexts(new Uint8Array(await file.arrayBuffer()));
  const infotext = texts.get('parameters');
  if (infotext !== undefined) {
    const lacking = adopt(fromInfotext(info.form, infotext), info);
    return withoutText(lacking, leftOut(info.form, infotext));
  }
  const workflow = fromComfy(texts.get('prompt') ?? '');
  return workflow && withoutText(adopt(fromOptions(info.form, workflow), info), []);
}

/** Takes the parameters of a link. @returns what was not taken, in words */
export function restoreFromLink(hash: string, info: Info): string {
  return withoutText(adopt(fromHash(info.form, hash), info), []);
}

function withoutText(lacking: readonly string[], omitted: readonly string[]): string {
  return [
    ...(lacking.length > 0
      ? [`This server does not support ${listed(lacking)}, so the form has its own values there.`]
      : []),
    ...(omitted.length > 0 ? [`The page does not offer ${listed(omitted)}, which is left out.`] : []),
  ].join(' ');
}

function listed(items: readonly string[]): string {
  return items.length < 2 ? items.join('') : `${items.slice(0, -1).join(', ')} and ${items.at(-1)}`;
}
