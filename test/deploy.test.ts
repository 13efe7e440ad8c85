import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { validate } from 'dockerfile-utils';
import { parseConfig, SERVER_VARIABLES } from 'srds/server';
import { parse, parseAllDocuments } from 'yaml';
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

test('the compose file with Triton sets variables that the server reads, and publishes no port of Triton', () => {
  const file = z.object({
    services: z.strictObject({
      srds: z.strictObject({
        depends_on: z.strictObject({ triton: z.strictObject({ condition: z.literal('service_healthy') }) }),
        environment: z.record(z.string(), z.string()),
        volumes: z.array(z.string().endsWith(':/model:ro')),
      }),
      triton: z.strictObject({
        image: z.string(),
        command: z.array(z.string()),
        volumes: z.array(z.string().endsWith(':/models:ro')),
        expose: z.tuple([z.literal('8000')]),
        healthcheck: z.strictObject({
          test: z.array(z.string()),
          interval: z.string(),
          timeout: z.string(),
          start_period: z.string(),
        }),
        shm_size: z.string(),
        deploy: z.object({
          resources: z.object({ reservations: z.object({ devices: z.array(z.unknown()).length(1) }) }),
        }),
        restart: z.literal('unless-stopped'),
        stop_grace_period: z.string().regex(/^\d+s$/),
        cap_drop: z.tuple([z.literal('ALL')]),
        security_opt: z.tuple([z.literal('no-new-privileges:true')]),
      }),
    }),
  });
  const { srds, triton } = file.parse(parse(read('compose.triton.yaml'), { strict: true })).services;
  for (const name of Object.keys(srds.environment)) assert.ok(SERVER_VARIABLES.includes(name), name);
  assert.match(srds.environment.SRDS_DEVICE, /^oip\+http:\/\/triton:8000\//);
  assert.ok(parseInt(triton.stop_grace_period) > exitTimeout(triton.command));
});

const labels = z.record(z.string(), z.string());
/** What the tests read of a workload. Its schema is checked elsewhere. */
const workload = z.object({
  kind: z.enum(['Deployment', 'StatefulSet']),
  spec: z.object({
    replicas: z.int(),
    serviceName: z.string().optional(),
    selector: z.object({ matchLabels: labels }),
    template: z.object({
      metadata: z.object({ labels }),
      spec: z.object({
        terminationGracePeriodSeconds: z.int(),
        containers: z.tuple([
          z.object({
            args: z.array(z.string()).default([]),
            env: z.array(z.object({ name: z.string(), value: z.string().optional() })).default([]),
            ports: z.array(z.object({ name: z.string(), containerPort: z.int() })),
            volumeMounts: z.array(z.object({ name: z.string() })),
          }),
        ]),
        volumes: z.array(z.object({ name: z.string() })),
      }),
    }),
  }),
});

/** The manifests of a file, by kind. */
function manifests(name: string): ReadonlyMap<string, { readonly kind: string; readonly spec: unknown }> {
  const documents = parseAllDocuments(read(name), { strict: true }).map((one) => one.toJS() as unknown);
  const all = z.array(z.object({ kind: z.string(), spec: z.unknown() })).parse(documents);
  return new Map(all.map((one) => [one.kind, one]));
}

function exitTimeout(args: readonly string[]): number {
  return Number(args.find((arg) => arg.startsWith('--exit-timeout-secs='))?.split('=')[1]);
}

test('on Kubernetes each part reaches the other, ends in time, and what is mounted exists', () => {
  const [triton, srds] = [manifests('kubernetes/triton.yaml'), manifests('kubernetes/srds.yaml')];
  const network = workload.parse(triton.get('StatefulSet')).spec;
  const server = workload.parse(srds.get('Deployment')).spec;
  for (const { selector, template } of [network, server]) {
    assert.deepEqual(selector.matchLabels, template.metadata.labels);
    const { containers, volumes } = template.spec;
    const names = volumes.map((volume) => volume.name).sort();
    assert.deepEqual(containers[0].volumeMounts.map(({ name }) => name).sort(), names);
  }
  const [{ args, ports }] = network.template.spec.containers;
  assert.ok(network.template.spec.terminationGracePeriodSeconds > exitTimeout(args));
  const [{ env }] = server.template.spec.containers;
  for (const { name } of env) assert.ok(SERVER_VARIABLES.includes(name), name);
  const value = (wanted: string) => env.find(({ name }) => name === wanted)?.value ?? '';
  assert.ok(server.template.spec.terminationGracePeriodSeconds > Number(value('SRDS_DRAIN')));
  // A server of Triton has the name of its pod in that of the headless service.
  const addresses = Array.from({ length: network.replicas }, (_, k) => `oip+http://triton-${k}.triton:8000/unet`);
  assert.deepEqual(value('SRDS_DEVICE').split(','), addresses);
  assert.equal(network.serviceName, 'triton');

  const services = z.object({ spec: z.object({ selector: labels, ports: z.array(z.object({ port: z.int() })) }) });
  assert.deepEqual(services.parse(triton.get('Service')).spec.selector, network.template.metadata.labels);
  assert.deepEqual(services.parse(srds.get('Service')).spec.selector, server.template.metadata.labels);
  const policy = z.object({
    spec: z.object({
      podSelector: z.object({ matchLabels: labels }),
      ingress: z.array(
        z.object({
          from: z.array(z.object({ podSelector: z.object({ matchLabels: labels }).optional() })),
          ports: z.array(z.object({ port: z.int() })),
        }),
      ),
    }),
  });
  const { spec } = policy.parse(manifests('kubernetes/network-policy.yaml').get('NetworkPolicy'));
  assert.deepEqual(spec.podSelector.matchLabels, network.template.metadata.labels);
  assert.deepEqual(spec.ingress[0].from[0].podSelector?.matchLabels, server.template.metadata.labels);
  assert.deepEqual(
    spec.ingress.flatMap((rule) => rule.ports.map(({ port }) => port)),
    ports.map(({ containerPort }) => containerPort),
  );
});
