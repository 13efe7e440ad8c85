export { createLog, startServer, type RunningServer, type StartOptions } from './server.js';
export { parseConfig, SERVER_OPTIONS, SERVER_VARIABLES, type ServerConfig, type ServerValues } from './config.js';
export { Queue, type Job, type ModelPlace } from './queue.js';
export { Models, type ModelSource, type ModelStatus, type ServedModel } from './models.js';
export { ApiError } from './apiError.js';
