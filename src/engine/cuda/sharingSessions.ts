import type { BucketShape, SharedSource } from '../../onnx/prepare.js';
import { computeConstants, type ConstantTensors } from './constantTensors.js';
import type { OrtApi } from './ortApi.js';
import { OrtSession } from './ortSession.js';
import type { SessionSettings } from './sessionOptions.js';

/** Opens the sessions of a graph's buckets, which share its constants. The first one computes them, and they are freed with the last one. */
export class SharingSessions {
  private constants: ConstantTensors | undefined;
  private sessions = 0;

  constructor(
    private readonly api: OrtApi,
    private readonly graph: SharedSource,
    private readonly settings: SessionSettings,
  ) {}

  /** @throws Error whatever ONNX Runtime reports, among other things where it needs the numbers of a constant to open a session */
  open(shape: BucketShape): OrtSession {
    const { api, graph, settings } = this;
    this.constants ??= computeConstants(api, graph.parts, settings);
    this.sessions++;
    try {
      return OrtSession.open(api, graph.source(shape), settings, {
        values: this.constants.values,
        release: () => this.release(),
      });
    } catch (error) {
      this.release();
      throw error;
    }
  }

  private release(): void {
    if (--this.sessions > 0) return;
    this.constants?.free();
    this.constants = undefined;
  }
}
