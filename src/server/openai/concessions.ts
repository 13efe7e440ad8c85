import { ignored, unknownFields, type Concession } from '../concession.js';
import type { EditRequest, GenerationRequest } from './schemas.js';

/** Values of fields without effect that ask for nothing: every image is opaque. */
const NEUTRAL: readonly unknown[] = [undefined, 'auto', 'opaque'];

/** The parts of a request that have no effect. */
export function concessionsOf(body: GenerationRequest | EditRequest): Concession[] {
  const { quality, moderation, background } = body;
  const style = 'style' in body ? body.style : undefined;
  const fidelity = 'input_fidelity' in body ? body.input_fidelity : undefined;
  const given = Object.entries({ quality, style, moderation, background, input_fidelity: fidelity });
  const hasNoStream = !body.stream && body.partial_images > 0;
  const further = 'image' in body ? body.image.length - 1 : 0;
  return [
    ...given.filter(([, value]) => !NEUTRAL.includes(value)).map(([name, value]) => ignored(name, value)),
    ...(further > 0 ? [{ param: 'image', warning: `of ${further + 1} images, the first is used` }] : []),
    ...(hasNoStream ? [{ param: 'partial_images', warning: 'partial_images has no effect without stream' }] : []),
    ...unknownFields([...body.rest.keys()]),
  ];
}
