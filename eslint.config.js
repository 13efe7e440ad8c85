import js from '@eslint/js';
import { defineConfig, globalIgnores } from 'eslint/config';
import tseslint from 'typescript-eslint';

/** Modules of src/ in layers. A module imports only from earlier layers of this list (docs/architecture.md). */
const LAYERS = [
  ['errors', 'statistics', 'version', 'waiting'],
  ['tensor', 'random', 'files'],
  ['hub', 'schedule', 'onnx', 'image'],
  ['solver'],
  ['sampler'],
  ['run'],
  ['engine'],
  ['conformance', 'planner'],
  ['model'],
  ['triton', 'pipeline'],
  ['benchmark'],
  ['chart'],
  ['server'],
  ['cli'],
];

const forbid = (modules, message) => ({
  group: modules.map((module) => `**/${module}/**`),
  message,
});

const directions = LAYERS.flatMap((layer, i) =>
  layer.map((module) => {
    const forbidden = LAYERS.slice(i)
      .flat()
      .filter((other) => other !== module);
    const patterns = [
      { group: ['srds', 'srds/*'], message: 'Inside the package, import from the file.' },
      {
        group: ['**/index.js'],
        message: 'Import from the file that defines it. An index is for users of the package.',
      },
    ];
    if (forbidden.length > 0) patterns.push(forbid(forbidden, `${module} may import only from earlier layers.`));
    return {
      files: ['errors', 'version', 'waiting'].includes(module) ? [`src/${module}.ts`] : [`src/${module}/**/*.ts`],
      ignores: ['src/*/index.ts'],
      rules: {
        '@typescript-eslint/no-restricted-imports': ['error', { patterns }],
        // Only modules that load slowly and that few runs need are imported dynamically: commands, charts, the hub, the SDK of OpenTelemetry.
        'no-restricted-syntax': [
          'error',
          {
            selector: String.raw`ImportExpression:not([source.value=/^(\.\.\/chart\/.*|\.\.\/server\/server\.js|\.\/modelFromHub\.js|sharp|koffi|@opentelemetry\/(sdk-trace-node|exporter-trace-otlp-http|resources))$/])`,
            message: 'Import statically.',
          },
        ],
      },
    };
  }),
);

export default defineConfig(
  globalIgnores(['dist', 'build', 'out', '.*/']),
  js.configs.recommended,
  {
    files: ['**/*.ts', '**/*.tsx'],
    extends: [tseslint.configs.strictTypeChecked],
    languageOptions: {
      parserOptions: {
        project: ['./tsconfig.json', './tsconfig.test.json', './web/tsconfig.json'],
        tsconfigRootDir: import.meta.dirname,
      },
    },
    rules: {
      '@typescript-eslint/restrict-template-expressions': ['error', { allowNumber: true, allowBoolean: true }],
      '@typescript-eslint/no-confusing-void-expression': 'off',
      '@typescript-eslint/consistent-type-imports': 'error',
      // A denoiser is asynchronous by its type, whether or not it awaits anything.
      '@typescript-eslint/require-await': 'off',
      // The reason of an AbortSignal is passed on as it is.
      '@typescript-eslint/prefer-promise-reject-errors': [
        'error',
        { allowThrowingAny: true, allowThrowingUnknown: true },
      ],
    },
  },
  {
    files: ['test/**/*.ts'],
    rules: {
      // node:test handles the promises that its functions return.
      '@typescript-eslint/no-floating-promises': ['error', { allowForKnownSafeCalls: ['test'] }],
      '@typescript-eslint/no-non-null-assertion': 'off',
    },
  },
  {
    files: ['**/*.{js,mjs}'],
    languageOptions: { globals: { process: 'readonly', URL: 'readonly', console: 'readonly' } },
  },
  ...directions,
  // Commands are loaded on demand.
  { files: ['src/cli/program.ts'], rules: { 'no-restricted-syntax': 'off' } },
);
