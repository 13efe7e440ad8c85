export { hubSettings, type Environment, type HubSettings } from './settings.js';
export { parseRepository, type Repository } from './name.js';
export type { Proxies } from './proxies.js';
export { snapshot, type HubProgress, type Selection, type SnapshotOptions } from './snapshot.js';
