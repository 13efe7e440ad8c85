export { Generator } from './generator.js';
export { Mt19937 } from './mt19937.js';
