import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { validate } from 'dockerfile-utils';
import { parseConfig, SERVER_VARIABLES } from 'srds/server';
import { parse } from 'yaml';
import { z } from 'zod';
import { ROOT } from './support/fixtures.js';

const read = (name: string) => readFileSync(join(ROOT, 'deploy', name), 'utf8');

test('the Dockerfile is valid, copies existing files, and sets variables that the server reads', () => {
  const text = read('Dockerfile');
  assert.deepEqual(
    validate(text).map(({ message }) => message),
    [],
  );
  for (const [, name] of text.matchAll(/(SRDS_\w+)=/g)) assert.ok(SERVER_VARIABLES.includes(name), name);
  for (const [, name] of text.matchAll(/--from=build \/srds\/(\S+)/g)) assert.ok(existsSync(join(ROOT, name)), name);
  assert.ok(existsSync(join(ROOT, (/"(dist\/\S+)", "serve"/.exec(text) ?? [])[1])));
});

test('the compose file is valid, and stops later than the server drains', () => {
  const service = z.strictObject({
    build: z.strictObject({ context: z.literal('..'), dockerfile: z.literal('deploy/Dockerfile') }),
    ports: z.array(z.string().regex(/^127\.0\.0\.1:\d+:7860$/)),
    environment: z.record(z.string(), z.string()),
    volumes: z.array(z.literal('cache:/home/node/.cache')),
    restart: z.literal('unless-stopped'),
    stop_grace_period: z.string().regex(/^\d+s$/),
    read_only: z.literal(true),
    tmpfs: z.tuple([z.literal('/tmp')]),
    cap_drop: z.tuple([z.literal('ALL')]),
    security_opt: z.tuple([z.literal('no-new-privileges:true')]),
  });
  const file = z.strictObject({
    services: z.strictObject({ srds: service }),
    volumes: z.object({ cache: z.null() }),
  });
  const { srds } = file.parse(parse(read('compose.yaml'), { strict: true })).services;
  for (const name of Object.keys(srds.environment)) assert.ok(SERVER_VARIABLES.includes(name), name);
  assert.ok(parseInt(srds.stop_grace_period) > Number(srds.environment.SRDS_DRAIN));
});

test('the server accepts the configuration for systemd', () => {
  const config = parseConfig([
    { name: 'srds.json', settings: JSON.parse(read('srds.json')) as Record<string, unknown> },
  ]);
  const unit = read('srds.service');
  const sections = [...unit.matchAll(/^\[(\w+)\]$/gm)].map(([, name]) => name);
  assert.deepEqual(sections, ['Unit', 'Service', 'Install']);
  for (const line of unit.split('\n')) assert.match(line, /^($|#|\[\w+\]$|[A-Z]\w+=\S)/);
  assert.ok(Number(/TimeoutStopSec=(\d+)/.exec(unit)?.[1]) > config.drain);
});
