import { existsSync } from 'node:fs';
import { chromium, type Browser } from 'playwright-core';

const INSTALLED = [
  '/usr/bin/chromium',
  '/usr/bin/chromium-browser',
  '/usr/bin/google-chrome',
  '/Applications/Google Chrome.app/Contents/MacOS/Google Chrome',
];
const ARGS = ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking'];

/**
 * Launches Chromium: the one that CHROMIUM names, an installed one, playwright's own, or the one that
 * `@sparticuz/chromium` ships for Linux.
 *
 * @throws Error in one line if none of them starts
 */
export async function launchBrowser(): Promise<Browser> {
  const installed = [process.env.CHROMIUM, ...INSTALLED, chromium.executablePath()].find(
    (path) => path !== undefined && existsSync(path),
  );
  const options = installed === undefined ? await shipped() : { executablePath: installed };
  try {
    return await chromium.launch({ ...options, args: [...ARGS, '--disable-component-update', '--disable-sync'] });
  } catch (error) {
    const [reason] = (error instanceof Error ? error.message : String(error)).split('\n');
    const found = `found ${options.executablePath}: ${reason}`;
    throw new Error(`expected a Chromium that starts, ${found}; install one or set CHROMIUM to its path`, {
      cause: error,
    });
  }
}

/** Variables that the import of `@sparticuz/chromium` reads or sets. */
const CHANGED = ['AWS_EXECUTION_ENV', 'LD_LIBRARY_PATH', 'FONTCONFIG_PATH'];

/** The Chromium of `@sparticuz/chromium`, unpacked to the temporary folder, with the shared libraries that it ships. */
async function shipped() {
  const { env } = process;
  const before = CHANGED.map((name) => [name, env[name]] as const);
  // It unpacks the libraries on AWS Lambda only, and sets LD_LIBRARY_PATH for the whole process.
  env.AWS_EXECUTION_ENV = 'AWS_Lambda_nodejs22.x';
  try {
    const { default: chromiumPackage } = await import('@sparticuz/chromium');
    const executablePath = await chromiumPackage.executablePath();
    return { executablePath, env: { ...env } as Record<string, string> };
  } finally {
    for (const [name, value] of before) {
      if (value === undefined) Reflect.deleteProperty(env, name);
      else env[name] = value;
    }
  }
}
