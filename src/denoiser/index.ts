export { type DenoiseRequest, type Denoiser } from './denoiser.js';
export { bounded, toPrediction, type Combination, type Prediction } from './prediction.js';
export { guide, rescaleGuidance } from './guidance.js';
export { engineDenoiser, type EngineDenoiserOptions } from './engineDenoiser.js';
export { flowSigma, fromVelocity, toFlow } from './flow.js';
