import type { z } from 'zod';
import { encodeImage } from '../../image/encode.js';
import type { EventStream } from '../eventStream.js';
import type { GenerateJobEvent, GenerationResult } from '../generate.js';
import { OrderedTasks } from '../orderedTasks.js';
import type { JobWriter } from '../streamJob.js';
import { aboutImages, fileOf, jsonSeed, now, srdsOf, usageOf, warningsOf } from './answers.js';
import type { EditRequest, GenerationRequest, imageEvents } from './schemas.js';

/** The prefix of a route's event names. */
export type ImageKind = 'image_generation' | 'image_edit';

type ImageEvent =
  z.output<ReturnType<typeof imageEvents<'image_generation'>>> | z.output<ReturnType<typeof imageEvents<'image_edit'>>>;

/** The payload of each event of OpenAI's streams by its name. */
export type ImageEvents = { [Event in ImageEvent as Event['type']]: Event };

/** Writes the first iterations of each image as partial images, then the complete images. */
export class PartialImages implements JobWriter {
  /** Partial images sent of each image. */
  private readonly sent = new Map<number, number>();
  private readonly encoding = new OrderedTasks();

  constructor(
    private readonly events: EventStream<ImageEvents>,
    private readonly kind: ImageKind,
    private readonly body: GenerationRequest | EditRequest,
  ) {}

  write(event: GenerateJobEvent): void {
    if (event.type !== 'iteration' || !event.preview) return;
    const { preview, image, iteration, residual = null, evaluations } = event;
    const index = this.sent.get(image) ?? 0;
    if (index >= this.body.partial_images) return;
    this.sent.set(image, index + 1);
    this.encoding.add(async () => {
      const { output_format: format, output_compression: quality } = this.body;
      const file = await encodeImage(preview, format, { quality });
      this.send({
        type: `${this.kind}.partial_image`,
        b64_json: file.toString('base64'),
        partial_image_index: index,
        image_index: image,
        created_at: now(),
        ...aboutImages(this.body, preview),
        srds: { iteration, residual, evaluations },
      });
    });
  }

  async finish(generation: GenerationResult): Promise<void> {
    for (const [index, image] of generation.images.entries()) {
      this.encoding.add(async () => {
        const file = await fileOf(image, generation, this.body);
        this.send({
          type: `${this.kind}.completed`,
          b64_json: file.toString('base64'),
          image_index: index,
          created_at: now(),
          ...aboutImages(this.body, image.rgb),
          seed: jsonSeed(image.seed),
          usage: usageOf(generation),
          ...warningsOf(generation),
          srds: srdsOf(image, generation.result.settings),
        });
      });
    }
    await this.encoding.drained();
  }

  private send(event: ImageEvent): void {
    this.events.send(event.type, event);
  }
}
