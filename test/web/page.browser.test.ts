/// <reference lib="dom" />
/// <reference lib="dom.iterable" />
/// <reference lib="dom.asynciterable" />
import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { gzipSync } from 'node:zlib';
import { AxeBuilder } from '@axe-core/playwright';
import type { BrowserContextOptions, Locator, Page, Route } from 'playwright-core';
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

/** A page of its own browser profile, which collects all errors. */
async function openPage(
  { url }: RunningServer,
  path = '/',
  options: BrowserContextOptions = {},
): Promise<{ page: Page; troubles: string[] }> {
  const context = await browser.newContext({ acceptDownloads: true, ...options });
  const page = await context.newPage();
  const troubles: string[] = [];
  page.on('pageerror', ({ message }) => troubles.push(message));
  page.on('console', (message) => {
    if (message.type() === 'error' && !message.text().includes('Failed to load resource'))
      troubles.push(message.text());
  });
  page.setDefaultTimeout(30_000);
  await page.goto(url + path);
  await prompt(page).waitFor();
  return { page, troubles };
}

const prompt = (page: Page) => page.getByLabel('Prompt', { exact: true });
const draw = (page: Page) => page.getByRole('button', { name: 'Draw', exact: true });
const download = (page: Page) => page.getByRole('link', { name: 'Download' });
const tiles = (page: Page) => page.getByRole('region', { name: 'Gallery' }).locator('.tile');
const field = (page: Page, name: string) => page.locator(`[name=${name}]`);

/** Opens a part of the form, unless it is open. */
async function openSection(page: Page, title: string): Promise<void> {
  const section = page.locator('details').filter({ has: page.getByText(title, { exact: true }) });
  if ((await section.getAttribute('open')) === null) await section.locator('summary').click();
}

async function valuesOf(page: Page): Promise<string[]> {
  const names = ['prompt', 'steps', 'seed', 'tolerance', 'sampler', 'solver', 'blocks'];
  return Promise.all(names.map((name) => field(page, name).inputValue()));
}

async function dropFile(page: Page, target: string, content: Buffer, type = 'image/png'): Promise<void> {
  await page.evaluate(
    ([selector, bytes, mime]) => {
      const files = new DataTransfer();
      files.items.add(new File([Uint8Array.from(bytes)], 'a.png', { type: mime }));
      for (const event of ['dragover', 'drop']) {
        document
          .querySelector(selector)
          ?.dispatchEvent(new DragEvent(event, { bubbles: true, cancelable: true, dataTransfer: files }));
      }
    },
    [target, [...content], type] as const,
  );
}

/** A square with a red disc, as a PNG. */
const DISC = await sharp(Buffer.from('<svg width="64" height="64"><circle cx="32" cy="32" r="20" fill="red"/></svg>'))
  .flatten({ background: '#ffffff' })
  .png()
  .toBuffer();

test('from typing to the file: it sharpens, says how it was drawn, and the file holds the parameters', async () => {
  const server = await startTiny();
  try {
    const { page, troubles } = await openPage(server);
    assert.equal(await field(page, 'sampler').inputValue(), 'auto');
    await prompt(page).fill('a red ball');
    await field(page, 'steps').fill('36');
    await field(page, 'sampler').selectOption('srds');
    await field(page, 'tolerance').fill('0');
    await field(page, 'seed').fill('7');
    await openSection(page, 'More');
    await field(page, 'solver').selectOption('Euler');
    await field(page, 'blocks').fill('6');
    await prompt(page).press('Control+Enter');
    await download(page).waitFor();
    const run = page.getByRole('region', { name: 'Image', exact: true });
    assert.equal(await run.getByRole('status').textContent(), 'Done, exactly the serial image');
    assert.match((await page.locator('.numbers').textContent()) ?? '', /In a row36 of 36/);
    assert.match((await page.getByRole('meter').getAttribute('aria-valuetext')) ?? '', /grey levels/);
    const chart = page.getByRole('slider', { name: /Evaluations of the network/ });
    await chart.press('End');
    const [, batch, batches] = /^Batch (\d+) of (\d+):/.exec((await chart.getAttribute('aria-valuetext')) ?? '') ?? [];
    assert.ok(Number(batches) > 6 && batch === batches, `${batch} of ${batches}`);
    assert.match((await page.locator('.reading').textContent()) ?? '', /refinement \d+.*block 6,/);

    const [saved] = await Promise.all([page.waitForEvent('download'), download(page).click()]);
    assert.equal(saved.suggestedFilename(), 'a-red-ball-seed7.png');
    const file = join(folder, 'a.png');
    await saved.saveAs(file);
    const pipeline = await Pipeline.open(SD15, { threads: 1 });
    const options = { prompt: 'a red ball', steps: 36, seed: 7, solver: 'euler', sampler: 'serial' } as const;
    const { images } = await pipeline.generate(options).result;
    await pipeline.close();
    assert.deepEqual(new Uint8Array(await sharp(file).raw().toBuffer()), images[0].rgb!.data);

    // What was asked for is in the file, in the gallery and in a link.
    const asked = ['a red ball', '36', '7', '0', 'srds', 'euler', '6'];
    const inFile = asked.with(6, '6 6 6 6 6 6');
    const again = await openPage(server);
    const restored = (on: Page) => until(async () => (await field(on, 'seed').inputValue()) === '7');
    await again.page.locator('[name=restore]').setInputFiles(file);
    await restored(again.page);
    assert.deepEqual(await valuesOf(again.page), inFile);
    await field(again.page, 'steps').fill('20');
    assert.equal(await field(again.page, 'blocks').inputValue(), '');
    const dropped = await openPage(server);
    await dropFile(dropped.page, 'main', readFileSync(file));
    await restored(dropped.page);
    assert.deepEqual(await valuesOf(dropped.page), inFile);
    await prompt(page).fill('another');
    await page.getByRole('button', { name: 'Use settings' }).click();
    assert.deepEqual(await valuesOf(page), asked);
    await page.getByRole('button', { name: 'Copy link' }).click();
    await page.waitForFunction(() => location.hash.includes('seed=7'));
    const linked = await openPage(server, `/${new URL(page.url()).hash}`);
    assert.deepEqual(await valuesOf(linked.page), asked);
    assert.deepEqual([troubles, again.troubles, dropped.troubles, linked.troubles], [[], [], [], []]);
  } finally {
    await server.close();
  }
});

test('several images, the gallery, and a reload that keeps both the form and the images', async () => {
  const server = await startTiny();
  try {
    const { page, troubles } = await openPage(server);
    await prompt(page).fill('three of them');
    await field(page, 'steps').fill('4');
    await field(page, 'seed').fill('10');
    await field(page, 'n').fill('3');
    await draw(page).click();
    await tiles(page).nth(2).waitFor();
    await page.reload();
    await tiles(page).nth(2).waitFor();
    assert.deepEqual((await valuesOf(page)).slice(0, 3), ['three of them', '4', '10']);
    assert.equal(await field(page, 'n').inputValue(), '3');

    // At full size: zoom, the next image, its seed.
    await tiles(page).first().click();
    const dialog = page.getByRole('dialog', { name: 'three of them' });
    const widthOf = () => dialog.getByRole('img').evaluate((image) => image.getBoundingClientRect().width);
    await dialog.getByRole('button', { name: 'Actual pixels' }).click();
    assert.equal(await widthOf(), 64);
    await dialog.getByRole('button', { name: 'Larger' }).click();
    assert.equal(await widthOf(), 96);
    await dialog.getByRole('button', { name: 'Fit' }).click();
    assert.ok((await widthOf()) > 96);
    assert.match((await dialog.textContent()) ?? '', /seed 12/);
    await page.keyboard.press('ArrowRight');
    await dialog.getByText(/seed 11/).waitFor();
    await dialog.getByRole('button', { name: 'Use this seed' }).click();
    assert.equal(await field(page, 'seed').inputValue(), '11');
    assert.equal(await dialog.count(), 0);

    // One is deleted, taken back, and deleted again; then all.
    const first = page.getByRole('button', { name: 'Delete: three of them' }).first();
    await first.click();
    await until(async () => (await tiles(page).count()) === 2);
    await page.getByRole('button', { name: 'Undo' }).click();
    await until(async () => (await tiles(page).count()) === 3);
    await tiles(page).first().press('Delete');
    await until(async () => (await tiles(page).count()) === 2);
    await page.reload();
    await tiles(page).nth(1).waitFor();
    assert.equal(await tiles(page).count(), 2);
    await page.getByRole('button', { name: 'Delete all' }).click();
    await page.getByRole('button', { name: 'Delete 2 images' }).click();
    await page.getByRole('region', { name: 'Start' }).waitFor();
    await page.reload();
    await page.getByRole('region', { name: 'Start' }).waitFor();
    assert.deepEqual(troubles, []);
  } finally {
    await server.close();
  }
});

test('Ctrl-Enter draws from anywhere but a dialog, and the focus is never lost', async () => {
  const server = await startTiny();
  try {
    const { page, troubles } = await openPage(server);
    let drawn = 0;
    page.on('request', (request) => (drawn += request.url().endsWith('/srds/v1/generate') ? 1 : 0));
    const focusIs = (locator: Locator) => until(() => locator.evaluate((one) => one === document.activeElement));
    await field(page, 'steps').fill('4');
    await field(page, 'steps').press('Control+Enter');
    await tiles(page).nth(0).waitFor();
    await draw(page).press('Control+Enter');
    await tiles(page).nth(1).waitFor();
    await tiles(page).nth(1).press('Control+Enter');
    await tiles(page).nth(2).waitFor();
    assert.equal(await page.getByRole('dialog').count(), 0);

    // A dialog keeps its keys, and gives the focus back.
    await tiles(page).nth(1).press('Enter');
    await page.getByRole('dialog').waitFor();
    await page.keyboard.press('Control+Enter');
    await page.keyboard.press('Escape');
    await focusIs(tiles(page).nth(1));
    assert.equal(drawn, 3);
    await dropFile(page, '.dropzone', DISC);
    for (const end of ['Escape', 'Use this mask']) {
      await page.getByRole('button', { name: 'Paint a mask' }).press('Enter');
      await page.getByRole('dialog').waitFor();
      if (end === 'Escape') await page.keyboard.press(end);
      else await page.getByRole('button', { name: end }).press('Enter');
      await page.getByRole('dialog').waitFor({ state: 'detached' });
      await focusIs(page.getByRole('button', { name: 'Paint a mask' }));
    }

    // What is deleted passes the focus on.
    await tiles(page).nth(1).press('Delete');
    await until(async () => (await tiles(page).count()) === 2);
    await focusIs(tiles(page).nth(1));
    await page.getByRole('button', { name: 'Delete all' }).press('Enter');
    await focusIs(page.getByRole('button', { name: 'Keep them' }));
    await page.keyboard.press('Enter');
    await focusIs(page.getByRole('button', { name: 'Delete all' }));
    await tiles(page).nth(0).press('Enter');
    for (const left of [1, 0]) {
      await page.getByRole('dialog').getByRole('button', { name: 'Delete' }).press('Enter');
      await until(async () => (await tiles(page).count()) === left);
    }
    await focusIs(prompt(page));
    assert.deepEqual(troubles, []);
  } finally {
    await server.close();
  }
});

test('image to image: a dropped image, a painted mask, and pixels outside of it that stay', async () => {
  const server = await startTiny();
  try {
    const { page, troubles } = await openPage(server);
    await dropFile(page, '.dropzone', DISC);
    const source = page.getByRole('region', { name: 'Initial image' });
    await source.getByRole('img', { name: 'The initial image' }).waitFor();
    await source.getByRole('button', { name: 'Paint a mask' }).click();
    const canvas = page.getByRole('application', { name: /Mask/ });
    const box = (await canvas.boundingBox())!;
    await page.mouse.move(box.x + box.width * 0.1, box.y + box.height * 0.9);
    await page.mouse.down();
    await page.mouse.move(box.x + box.width * 0.3, box.y + box.height * 0.9, { steps: 4 });
    await page.mouse.up();
    await page.getByRole('button', { name: 'Use this mask' }).click();
    await source.getByText('Only the painted part changes.').waitFor();
    await page.reload();
    await source.getByText('Only the painted part changes.').waitFor();
    await field(page, 'steps').fill('4');
    const [request] = await Promise.all([
      page.waitForRequest((one) => one.url().endsWith('/srds/v1/generate')),
      draw(page).click(),
    ]);
    await download(page).waitFor();
    const body = request.postDataJSON() as Record<string, unknown>;
    assert.deepEqual(Buffer.from(String(body.image), 'base64'), DISC);
    const mask = await sharp(Buffer.from(String(body.mask), 'base64'))
      .ensureAlpha()
      .raw()
      .toBuffer();
    const alpha = (x: number, y: number) => mask[4 * (64 * y + x) + 3];
    assert.deepEqual([alpha(12, 58), alpha(32, 10), alpha(60, 30)], [0, 255, 255]);
    assert.equal(body.strength, 0.8);
    await source.getByRole('button', { name: 'Remove', exact: true }).click();
    assert.equal(await source.count(), 0);
    assert.deepEqual(troubles, []);
  } finally {
    await server.close();
  }
});

test('settings of an image that was drawn from noise remove the initial image, which can be put back', async () => {
  const server = await startTiny();
  try {
    const { page, troubles } = await openPage(server);
    const source = page.getByRole('region', { name: 'Initial image' });
    const removed = page.getByText(/The initial image is removed/);
    await field(page, 'steps').fill('4');
    await draw(page).click();
    const [saved] = await Promise.all([page.waitForEvent('download'), download(page).click()]);
    const file = join(folder, 'from-noise.png');
    await saved.saveAs(file);
    await dropFile(page, '.dropzone', await sharp(DISC).resize(96, 64, { fit: 'fill' }).png().toBuffer());
    await source.waitFor();
    const size = field(page, 'size').locator('option:checked');
    assert.equal(await size.textContent(), '96 × 64');
    const restores = [
      () => page.getByRole('button', { name: 'Use settings' }).click(),
      () => page.locator('[name=restore]').setInputFiles(file),
    ];
    for (const restore of restores) {
      await restore();
      await removed.waitFor();
      assert.equal(await source.count(), 0);
      assert.equal(await size.textContent(), '64 × 64');
      await page.getByRole('button', { name: 'Put it back' }).click();
      await source.waitFor();
    }

    // An image that was drawn from another one leaves it.
    await field(page, 'size').selectOption('auto');
    await field(page, 'seed').fill('5');
    await draw(page).click();
    await until(async () => (await tiles(page).count()) === 2);
    await field(page, 'seed').fill('6');
    await tiles(page).first().click();
    await page
      .getByRole('dialog')
      .getByText(/^96 × 64, /)
      .waitFor();
    await page.getByRole('dialog').getByRole('button', { name: 'Use settings' }).click();
    await until(async () => (await field(page, 'seed').inputValue()) === '5');
    assert.deepEqual([await source.count(), await removed.count()], [1, 0]);
    assert.deepEqual(troubles, []);
  } finally {
    await server.close();
  }
});

test('the form takes seeds up to 2^64 - 1, and says so of others', async () => {
  const server = await startTiny();
  try {
    const { page } = await openPage(server);
    const largest = 2n ** 64n - 1n;
    const seeds = [
      0n,
      9n,
      10n ** 19n,
      largest - 1n,
      largest,
      largest + 1n,
      largest + 5n,
      largest + 10n ** 18n,
      10n ** 20n - 1n,
    ];
    for (const seed of seeds) {
      await field(page, 'seed').fill(String(seed));
      const said = () => field(page, 'seed').evaluate((one: HTMLInputElement) => one.validationMessage);
      const isTaken = seed <= largest;
      await until(async () => ((await said()) === '') === isTaken);
      if (!isTaken) assert.match(await said(), /whole number from 0 to 18446744073709551615/);
    }
  } finally {
    await server.close();
  }
});

test('cancel one and all, a race, and two tabs at once', async () => {
  const server = await startTiny({ concurrency: 2 });
  try {
    const { page, troubles } = await openPage(server);
    await field(page, 'steps').fill('250');
    await field(page, 'sampler').selectOption('srds');
    await field(page, 'tolerance').fill('0');
    await draw(page).click();
    await page.locator('.plot').waitFor();
    await draw(page).click();
    await draw(page).click();
    await page
      .getByText(/^(Next, as soon as the server is free|In the queue, \d+ requests? first)$/)
      .first()
      .waitFor();
    await page.getByRole('region', { name: 'Also being drawn' }).waitFor();
    await page.getByRole('button', { name: 'Cancel all' }).click();
    await page.getByRole('status').getByText('Cancelled').waitFor();
    const idle = async () => (await (await fetch(`${server.url}/metrics`)).text()).includes('srds_running 0');
    await until(idle);
    const other = await openPage(server);
    const tabs = [
      [page, '1'],
      [other.page, '2'],
    ] as const;
    for (const [tab, seed] of tabs) {
      await field(tab, 'steps').fill('25');
      await field(tab, 'sampler').selectOption('srds');
      await field(tab, 'seed').fill(seed);
      await openSection(tab, 'More');
      await field(tab, 'race').check();
      await draw(tab).click();
    }
    for (const [tab] of tabs) {
      await download(tab).waitFor();
      const titles = tab.locator('.runs').getByRole('heading');
      assert.deepEqual(await titles.allTextContents(), ['Serial', 'SRDS']);
      assert.match((await tab.locator('.comparison').textContent()) ?? '', /the serial sampler [\d.]+ s/);
    }
    assert.deepEqual([troubles, other.troubles], [[], []]);
  } finally {
    await server.close();
  }
});

test('a full queue is tried again by itself, and leaving the page says what it ended', async () => {
  const server = await startTiny({ concurrency: 1, queue: 0 });
  try {
    const { page, troubles } = await openPage(server);
    // It is open before the run starts, which would otherwise end too soon.
    const other = await openPage(server);
    await field(other.page, 'steps').fill('4');
    await field(page, 'steps').fill('250');
    await field(page, 'n').fill('8');
    await field(page, 'seed').fill('77');
    await draw(page).click();
    await page.locator('.plot').waitFor();
    await draw(other.page).click();
    await other.page.getByText(/The queue of the server is full\. Next try in/).waitFor();
    await page.reload();
    await page.getByRole('alert').getByText('Leaving the page ended an image').waitFor();
    await download(other.page).waitFor();
    // The offer outlasts what else there is to say.
    await page.locator('[name=restore]').setInputFiles({ name: 'a.png', mimeType: 'image/png', buffer: DISC });
    await page.getByText('This file has no settings that this page knows.').waitFor();
    await field(page, 'steps').fill('5');
    await page.getByRole('button', { name: 'Draw again' }).click();
    await page.locator('.plot').waitFor();
    await page.keyboard.press('Escape');
    await page.getByText('Cancelled').waitFor();
    assert.deepEqual([troubles, other.troubles], [[], []]);
  } finally {
    await server.close();
  }
});

test('while the form changes the last forecast stays, until an answer or an error comes', async () => {
  const server = await startTiny();
  try {
    const { page } = await openPage(server);
    // Each request waits until it is answered here.
    const asked: Route[] = [];
    await page.route('**/srds/v1/forecast', (route) => void asked.push(route));
    const next = async (steps: number) => {
      const isAsked = (route: Route) => (route.request().postDataJSON() as { steps: number }).steps === steps;
      await field(page, 'steps').fill(String(steps));
      await until(() => asked.some(isAsked));
      return asked.find(isAsked)!;
    };
    const forecast = (seconds: number) => ({
      json: { forecast: { sampler: 'serial', reason: null, seconds, serialSeconds: seconds } },
    });
    const [first, second] = ['About 11.0 s with', 'About 12.0 s with'].map((text) => page.getByText(text));
    await (await next(21)).fulfill(forecast(11));
    await first.waitFor();
    const waiting = await next(22);
    assert.ok(await first.isVisible());
    await waiting.fulfill(forecast(12));
    await second.waitFor();
    const failing = await next(23);
    assert.ok(await second.isVisible());
    await failing.fulfill({ status: 500, json: {} });
    await page.getByText('Auto takes the fastest sampler').waitFor();
    assert.ok(!(await second.isVisible()));
  } finally {
    await server.close();
  }
});

test('the page connects again to a restarted server, asks for a key, and explains errors', async () => {
  const first = await startTiny({ drain: 0.1 });
  const { page, troubles } = await openPage(first);
  await field(page, 'steps').fill('250');
  await draw(page).click();
  await page.locator('.plot').waitFor();
  await first.close();
  await page.locator('.run.failed').waitFor();
  await draw(page).click();
  await page.getByRole('alert').getByText('The server does not answer').waitFor();
  assert.equal(await page.locator('.notice.error').count(), 1);
  const port = Number(new URL(first.url).port);
  const second = await startTiny({ port, apiKeys: ['a-key-of-the-test'], maxSteps: 20 });
  try {
    await page.getByLabel('API key', { exact: true }).fill('a-wrong-key-of-the-test');
    await page.getByRole('button', { name: 'Use it' }).click();
    await page.getByText('The server does not know this API key.').waitFor();
    await page.getByLabel('API key', { exact: true }).fill('a-key-of-the-test');
    await page.getByRole('button', { name: 'Use it' }).click();
    await until(async () => (await page.locator('.notice').count()) === 0);
    await field(page, 'steps').fill('4');
    await field(page, 'prompt').evaluate((element: HTMLTextAreaElement) => (element.maxLength = 100_000));
    await field(page, 'prompt').fill('long '.repeat(8000));
    await draw(page).click();
    await page
      .getByRole('alert')
      .getByText(/^Prompt: /)
      .waitFor();
    await prompt(page).fill('short');
    await draw(page).click();
    await download(page).waitFor();
    assert.deepEqual(troubles, []);
  } finally {
    await second.close();
  }
});

test('presets and PNG files of other programs fill the form', async () => {
  const server = await startTiny();
  try {
    const { page, troubles } = await openPage(server);
    await page.getByRole('button', { name: 'Quick' }).click();
    const quick = await field(page, 'steps').inputValue();
    await page.getByRole('button', { name: 'Fine' }).click();
    assert.equal(Number(await field(page, 'steps').inputValue()), 4 * Number(quick));
    await field(page, 'guidance').fill('3');
    await page.getByRole('button', { name: 'Save settings' }).click();
    await page.getByLabel('Name of the preset').fill('mine');
    await page.keyboard.press('Enter');
    await page.getByRole('button', { name: 'Quick' }).click();
    await field(page, 'guidance').fill('9');
    await page.reload();
    await page.getByRole('button', { name: 'mine', exact: true }).click();
    assert.deepEqual(
      [await field(page, 'steps').inputValue(), await field(page, 'guidance').inputValue()],
      [String(4 * Number(quick)), '3'],
    );
    await page.getByRole('button', { name: 'Delete the preset mine' }).click();
    assert.equal(await page.getByRole('button', { name: 'mine', exact: true }).count(), 0);

    // sharp writes no texts, so the chunk is put after the header.
    const withText = (keyword: string, text: string) => {
      const data = Buffer.from(`${keyword}\0${text}`, 'latin1');
      const head = Buffer.alloc(8);
      head.writeUInt32BE(data.length);
      head.write('tEXt', 4, 'latin1');
      return Buffer.concat([DISC.subarray(0, 33), head, data, Buffer.alloc(4), DISC.subarray(33)]);
    };
    const webUi =
      'a fox\nNegative prompt: blurry\nSteps: 30, Sampler: Euler a, Schedule type: Automatic, CFG scale: 7, Seed: 123, Size: 512x768, Model: dreamshaper, Version: v1.10';
    await dropFile(page, 'main', withText('parameters', webUi));
    await until(async () => (await prompt(page).inputValue()) === 'a fox');
    assert.deepEqual((await valuesOf(page)).slice(0, 3), ['a fox', '30', '123']);
    assert.equal(await field(page, 'negativePrompt').inputValue(), 'blurry');
    assert.equal(await field(page, 'guidance').inputValue(), '7');
    assert.equal(await field(page, 'size').inputValue(), 'auto');
    const said = (await page.locator('.notice').textContent()) ?? '';
    for (const lost of ['size 512x768', 'model dreamshaper', 'Euler a']) assert.ok(said.includes(lost), said);
    assert.deepEqual(troubles, []);
  } finally {
    await server.close();
  }
});

const SCREENS: readonly (readonly [string, BrowserContextOptions])[] = [
  ['a desktop', { viewport: { width: 1280, height: 800 } }],
  ['a desktop in the dark', { viewport: { width: 1280, height: 800 }, colorScheme: 'dark' }],
  ['a phone', { viewport: { width: 390, height: 844 }, hasTouch: true, isMobile: true, reducedMotion: 'reduce' }],
  ['320 pixels in the dark', { viewport: { width: 320, height: 640 }, colorScheme: 'dark' }],
];

test('on every screen the page fits, axe finds nothing, and on a desktop the download is in view', async () => {
  const server = await startTiny({ models: [SD15, `${ROOT}test/fixtures/models/sd21v`] });
  try {
    for (const [name, options] of SCREENS) {
      const { page, troubles } = await openPage(server, '/', options);
      const check = async (what: string) => {
        const where = `${what} on ${name}`;
        assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), where);
        const { violations } = await new AxeBuilder({ page }).analyze();
        const found = violations.map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html).join(' ')}`);
        assert.deepEqual(found, [], where);
      };
      await check('the start');
      await openSection(page, 'Settings');
      await openSection(page, 'More');
      await page.getByRole('button', { name: 'What Tolerance means' }).click();
      await page.getByRole('note').waitFor();
      await check('the form');
      await dropFile(page, '.dropzone', DISC);
      await page.getByRole('button', { name: 'Paint a mask' }).click();
      await check('the mask');
      await page.keyboard.press('Escape');
      await page.getByRole('button', { name: 'Remove', exact: true }).click();
      await field(page, 'steps').fill('16');
      await field(page, 'sampler').selectOption('srds');
      await draw(page).click();
      await download(page).waitFor();
      await check('a finished image');
      if (name.startsWith('a desktop')) {
        await page.evaluate(() => scrollTo(0, 0));
        const { y, height } = (await download(page).boundingBox())!;
        assert.ok(y >= 0 && y + height <= 800, `the download is at ${y}`);
      }
      await tiles(page).first().click();
      await check('an image at full size');
      for (const control of await page.getByRole('dialog').getByRole('button').all()) {
        const { y, height } = (await control.boundingBox())!;
        const end = options.viewport!.height;
        assert.ok(y >= 0 && y + height <= end, `${await control.getAttribute('aria-label')} is at ${y} on ${name}`);
      }
      await page.keyboard.press('Escape');
      assert.equal(await page.getByRole('dialog').count(), 0);
      assert.deepEqual(troubles, [], name);
      await page.context().close();
    }
  } finally {
    await server.close();
  }
});

test('the page takes less than 150 kB compressed, and nothing from elsewhere', () => {
  const built = join(ROOT, 'dist/web');
  const files = readdirSync(built, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
  const size = files.reduce(
    (sum, { parentPath, name }) => sum + gzipSync(readFileSync(join(parentPath, name))).length,
    0,
  );
  assert.ok(size > 1000 && size < 150_000, String(size));
  assert.equal(readFileSync(join(built, 'index.html'), 'utf8').match(/(src|href)="https?:/g), null);
});
