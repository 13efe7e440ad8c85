export { hubSettings, type Environment, type HubSettings } from './settings.js';
export { parseRepository, type Repository } from './name.js';
export { snapshot, type HubProgress, type SnapshotOptions } from './snapshot.js';
