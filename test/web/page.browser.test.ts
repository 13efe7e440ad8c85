/// <reference lib="dom" />
/// <reference lib="dom.iterable" />
import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { gzipSync } from 'node:zlib';
import type { Page } from 'playwright-core';
import sharp from 'sharp';
import { Pipeline } from 'srds';
import type { RunningServer } from 'srds/server';
import { launchBrowser } from '../support/browser.js';
import { ROOT } from '../support/fixtures.js';
import { SD15, startTiny, until } from '../support/server.js';

const folder = mkdtempSync(join(tmpdir(), 'srds-'));
const browser = await launchBrowser();
after(async () => {
  await browser.close();
  rmSync(folder, { recursive: true });
});

/** A page of its own browser profile, which fails the test on any error. */
async function openPage({ url }: RunningServer, path = '/'): Promise<{ page: Page; troubles: string[] }> {
  const context = await browser.newContext({ acceptDownloads: true });
  const page = await context.newPage();
  const troubles: string[] = [];
  page.on('pageerror', ({ message }) => troubles.push(message));
  page.on('console', (message) => {
    if (message.type() === 'error' && !message.text().includes('Failed to load resource'))
      troubles.push(message.text());
  });
  page.setDefaultTimeout(20_000);
  await page.goto(url + path);
  return { page, troubles };
}

const draw = (page: Page) => page.getByRole('button', { name: 'Draw', exact: true });
const download = (page: Page) => page.getByRole('link', { name: 'Download PNG' });

test('from typing to the file: it sharpens, says what it took, and the file holds the parameters', async () => {
  const server = await startTiny();
  try {
    const { page, troubles } = await openPage(server);
    await page.getByLabel('Prompt', { exact: true }).fill('a red ball');
    await page.getByLabel('Steps').fill('36');
    await page.getByLabel('Tolerance').fill('0');
    await page.getByLabel('Seed').fill('7');
    await page.getByText('More', { exact: true }).click();
    await page.getByLabel('Solver').selectOption('Euler');
    await page.getByLabel('Blocks').fill('6');
    await page.keyboard.press('Tab');
    await page.getByLabel('Prompt', { exact: true }).press('Control+Enter');
    const status = page.getByRole('region', { name: 'Image' }).getByRole('status');
    await page.getByRole('img', { name: /a red ball/ }).waitFor();
    await download(page).waitFor();
    assert.equal(await status.textContent(), 'the serial image, exactly');
    assert.match(
      (await page.locator('.numbers').textContent()) ?? '',
      /36 sequential evaluations, serial 36.*serial: about/,
    );
    assert.ok((await page.locator('.gantt rect').count()) >= 36);
    assert.match((await page.locator('.gantt svg').getAttribute('aria-label')) ?? '', /evaluations in \d+ batches/);
    assert.match((await page.getByRole('meter').getAttribute('aria-valuetext')) ?? '', /grey levels/);

    const [saved] = await Promise.all([page.waitForEvent('download'), download(page).click()]);
    assert.equal(saved.suggestedFilename(), 'a-red-ball-seed7.png');
    const file = join(folder, 'a.png');
    await saved.saveAs(file);
    const pipeline = await Pipeline.open(SD15, { threads: 1 });
    const { images } = await pipeline.generate({
      prompt: 'a red ball',
      steps: 36,
      seed: 7,
      solver: 'euler',
      sampler: 'serial',
    }).result;
    await pipeline.close();
    assert.deepEqual(new Uint8Array(await sharp(file).raw().toBuffer()), images[0].rgb!.data);

    // What is in the file, in the history and in a link is what was asked for.
    const again = await openPage(server);
    const values = (on: Page) =>
      Promise.all(
        ['prompt', 'steps', 'seed', 'tolerance', 'solver', 'blocks'].map((name) =>
          on.locator(`[name=${name}]`).inputValue(),
        ),
      );
    const restored = (on: Page) =>
      on.waitForFunction(() => document.querySelector<HTMLInputElement>('input[name=seed]')?.value === '7');
    const asked = ['a red ball', '36', '7', '0', 'euler', '6'];
    const inFile = asked.with(5, '6 6 6 6 6 6');
    await again.page.getByLabel('Restore from a PNG').setInputFiles(file);
    await restored(again.page);
    assert.deepEqual(await values(again.page), inFile);
    assert.equal(await again.page.getByRole('alert').count(), 0);
    await again.page.getByLabel('Steps').fill('20');
    assert.equal((await values(again.page))[5], '');
    await again.page.reload();
    await again.page.evaluate(
      (content) => {
        const files = new DataTransfer();
        files.items.add(new File([Uint8Array.from(content)], 'a.png', { type: 'image/png' }));
        const drag = (type: string) =>
          document.body.dispatchEvent(new DragEvent(type, { bubbles: true, cancelable: true, dataTransfer: files }));
        drag('dragover');
        drag('drop');
      },
      [...readFileSync(file)],
    );
    await restored(again.page);
    assert.deepEqual(await values(again.page), inFile);
    await page.getByLabel('Prompt', { exact: true }).fill('another');
    await page.getByRole('button', { name: 'a red ball' }).click();
    assert.deepEqual(await values(page), asked);
    await page.getByRole('button', { name: /Copy link/ }).click();
    await page.waitForFunction(() => location.hash.includes('seed=7'));
    const linked = await openPage(server, `/${new URL(page.url()).hash}`);
    assert.deepEqual(await values(linked.page), asked);
    assert.deepEqual([troubles, again.troubles, linked.troubles], [[], [], []]);
  } finally {
    await server.close();
  }
});

test('cancel, and two tabs at once', async () => {
  const server = await startTiny({ concurrency: 2 });
  try {
    const { page, troubles } = await openPage(server);
    await page.getByLabel('Steps').fill('250');
    await page.getByLabel('Tolerance').fill('0');
    await draw(page).click();
    await page.locator('.gantt').waitFor();
    await page.keyboard.press('Escape');
    await page.getByText('cancelled').waitFor();
    const idle = async () => (await (await fetch(`${server.url}/metrics`)).text()).includes('srds_running 0');
    await until(idle);
    const other = await openPage(server);
    for (const [tab, seed] of [
      [page, '1'],
      [other.page, '2'],
    ] as const) {
      await tab.getByLabel('Steps').fill('25');
      await tab.getByLabel('Seed').fill(seed);
      await tab.getByLabel('Race').check();
      await draw(tab).click();
    }
    for (const [tab, seed] of [
      [page, '1'],
      [other.page, '2'],
    ] as const) {
      await download(tab).nth(1).waitFor();
      assert.deepEqual(await tab.getByText(`seed ${seed}`, { exact: true }).count(), 2);
      assert.deepEqual(await tab.getByRole('region').getByRole('heading').allTextContents(), [
        'serial',
        'srds',
        'Drawn in this browser',
      ]);
    }
    assert.deepEqual([troubles, other.troubles], [[], []]);
  } finally {
    await server.close();
  }
});

test('the page reconnects to a restarted server and asks for a key', async () => {
  const first = await startTiny({ drain: 0.1 });
  const { page, troubles } = await openPage(first);
  await page.getByLabel('Steps').fill('250');
  await draw(page).click();
  await page.locator('.gantt').waitFor();
  await first.close();
  await page.locator('.run.failed').waitFor();
  await draw(page).click();
  await page.getByRole('alert').waitFor();
  assert.match((await page.getByRole('alert').textContent()) ?? '', /cannot be reached/);
  const second = await startTiny({ port: Number(new URL(first.url).port), apiKeys: ['a-key-of-the-test'] });
  try {
    await page.getByLabel('API key').fill('a-key-of-the-test');
    await page.getByRole('button', { name: 'Use it' }).click();
    await page.getByLabel('Steps').fill('4');
    await draw(page).click();
    await download(page).waitFor();
    assert.deepEqual(troubles, []);
  } finally {
    await second.close();
  }
});

test('the page fits a phone, labels every control, and takes less than 150 kB of JavaScript', async () => {
  const server = await startTiny();
  try {
    const { page } = await openPage(server);
    await page.setViewportSize({ width: 360, height: 740 });
    await page.emulateMedia({ colorScheme: 'dark' });
    assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth));
    const dark = await page.evaluate(() => getComputedStyle(document.body).backgroundColor);
    await page.emulateMedia({ colorScheme: 'light' });
    assert.notEqual(await page.evaluate(() => getComputedStyle(document.body).backgroundColor), dark);
    for (const control of await page.locator('input, select, textarea, button').all()) {
      const name = await control.evaluate((element) => {
        const { labels } = element as HTMLInputElement;
        return [...(labels ?? [])].map((label) => label.textContent).join('') || element.textContent;
      });
      assert.ok(name && name.trim() !== '', await control.evaluate((element) => element.outerHTML));
    }
    const assets = join(ROOT, 'dist/web/assets');
    const scripts = readdirSync(assets).filter((name) => name.endsWith('.js'));
    const size = scripts.reduce((sum, name) => sum + gzipSync(readFileSync(join(assets, name))).length, 0);
    assert.ok(size > 1000 && size < 150_000, String(size));
    const outside = readFileSync(join(ROOT, 'dist/web/index.html'), 'utf8').match(/(src|href)="https?:/g);
    assert.equal(outside, null);
  } finally {
    await server.close();
  }
});
