export type { Environment } from './environment.js';
export { hubSettings, type HubSettings } from './settings.js';
export { parseRepository, type Repository } from './name.js';
export type { Proxies } from './proxies.js';
export type { Selection } from './selection.js';
export { snapshot, type HubProgress, type SnapshotOptions } from './snapshot.js';
