import { defineConfig } from 'vite';

export default defineConfig({
  root: import.meta.dirname,
  build: { outDir: '../dist/web', emptyOutDir: true, target: 'es2022' },
  // `npx vite web` serves the page while it is worked on, beside `srds serve`.
  server: { proxy: { '/srds': 'http://127.0.0.1:7860', '/healthz': 'http://127.0.0.1:7860' } },
});
