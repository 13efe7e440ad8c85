export { createLog, startServer, type RunningServer, type StartOptions } from './server.js';
export { parseConfig, SETTINGS, type Given, type ServerConfig, type SettingName } from './config.js';
