import type { Models, ServedModel } from '../models.js';

/** The model that each client has chosen, as in the options of a web UI. */
export class ChosenModels {
  private readonly names = new Map<string, string>();

  constructor(private readonly models: Models) {}

  /** @param key the name of the client's API key @throws ApiError 404 */
  choose(key: string, name: string): void {
    this.names.set(key, this.models.find(name).name);
  }

  /** The model for a request. @param name the one that the request names @throws ApiError 404 */
  find(key: string, name?: string): ServedModel {
    // Tools send an empty name for no choice.
    return this.models.find(name === undefined || name === '' ? this.names.get(key) : name);
  }
}
