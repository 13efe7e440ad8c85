import type { Info } from '../../src/server/infoAnswer.js';
import { fromComfy } from './comfy.js';
import type { Notice } from './notice.js';
import { fromHash, fromInfotext, fromOptions, leftOut, type Values } from './parameters.js';
import { adopt } from './settings.js';
import { setSource, source } from './source.js';

/** What there is to say of restored settings, and to do about it. */
export interface Restored {
  readonly text: string;
  readonly action?: Notice['action'];
}

/**
 * Takes the parameters of an image that this program, a Stable Diffusion web UI or ComfyUI has written.
 * @returns undefined if the file has no parameters
 */
export async function restoreFromFile(file: Blob, info: Info): Promise<Restored | undefined> {
  // What reads them is as large as the rest of the page.
  const { imageTexts } = await import('../../src/image/imageTexts.js');
  const texts = await imageTexts(new Uint8Array(await file.arrayBuffer()));
  const infotext = texts.get('parameters');
  if (infotext !== undefined) {
    return restoreOfImage(fromInfotext(info.form, infotext), info, leftOut(info.form, infotext));
  }
  const workflow = fromComfy(texts.get('prompt') ?? '');
  return workflow && restoreOfImage(fromOptions(info.form, workflow), info);
}

/**
 * Takes the parameters of an image. Without any of an initial image it was drawn from noise, so the initial image of the form is removed.
 * @param omitted what the page does not offer, in words
 */
export function restoreOfImage(given: Values, info: Info, omitted: readonly string[] = []): Restored {
  const text = withoutText(adopt(given, info), omitted);
  const removed = source.value;
  if (!removed || info.form.some(({ name, group }) => group === 'image' && name in given)) return { text };
  setSource(undefined);
  return {
    text: `${text} The initial image is removed, because these settings draw from noise.`.trim(),
    action: { label: 'Put it back', run: () => setSource(removed) },
  };
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
