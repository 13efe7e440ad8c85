import { messageOf } from '../../errors.js';
import { fileStamp } from '../../files/fileStamp.js';
import type { BucketShape, SharedSource } from '../../onnx/prepare.js';
import { computeConstants, type ConstantTensors } from './constantTensors.js';
import { afterFreeing } from './freeing.js';
import type { OrtApi } from './ortApi.js';
import { OrtSession } from './ortSession.js';
import type { SessionSettings } from './sessionOptions.js';

/** Says why the constants could not be computed, as ONNX Runtime or CUDA reports it. */
export class ConstantsFailure extends Error {}

/** The reason why a session cannot have the constants that others have: it would get other weights from the files. */
export class FilesChanged extends Error {}

/** Opens the sessions of a graph's buckets, which share its constants. The first one computes them, and they are freed with the last one. */
export class SharingSessions {
  private constants: ConstantTensors | undefined;
  /** What the files were when the constants were computed. */
  private stamps = '';
  private sessions = 0;

  constructor(
    private readonly api: OrtApi,
    private readonly graph: SharedSource,
    private readonly settings: SessionSettings,
  ) {}

  /**
   * @throws ConstantsFailure; FilesChanged; Error whatever ONNX Runtime reports, among other things where it needs the numbers of a
   *   constant to open a session
   */
  async open(shape: BucketShape): Promise<OrtSession> {
    const { api, graph, settings } = this;
    const stamps = JSON.stringify(await Promise.all(graph.files.map(fileStamp)));
    if (this.constants && stamps !== this.stamps) {
      throw new FilesChanged(`${graph.files[0]} or its weights changed since they were loaded; open the model again`);
    }
    this.stamps = stamps;
    this.constants ??= this.compute();
    this.sessions++;
    try {
      return OrtSession.open(api, graph.source(shape), settings, {
        values: this.constants.values,
        release: () => this.release(),
      });
    } catch (error) {
      throw afterFreeing(error, () => this.release());
    }
  }

  private compute(): ConstantTensors {
    try {
      return computeConstants(this.api, this.graph.parts, this.settings);
    } catch (error) {
      throw new ConstantsFailure(messageOf(error));
    }
  }

  private release(): void {
    if (--this.sessions > 0) return;
    const { constants } = this;
    // Also if freeing them fails, none of them is given to another session.
    this.constants = undefined;
    constants?.free();
  }
}
