import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { z } from 'zod';
import { ROOT } from './support/fixtures.js';
import { pythonScript } from './support/venv.js';

const scratch = mkdtempSync(join(tmpdir(), 'srds-'));
after(() => rmSync(scratch, { recursive: true }));

const FILES = ['kubernetes/network-policy', 'kubernetes/srds', 'kubernetes/triton', 'kserve/inference-service'].map(
  (name) => join(ROOT, `deploy/${name}.yaml`),
);
const checked = z.array(z.tuple([z.string(), z.string(), z.string().nullable()]));

/** What the schemas say of manifests: the kind of each, and the problem if there is one. */
async function check(...files: string[]) {
  return checked.parse(await pythonScript('manifests-requirements.txt', 'check_manifests.py', files));
}

test("the manifests are valid by the schemas of Kubernetes and KServe's models", async () => {
  const results = await check(...FILES);
  assert.deepEqual(
    results.filter(([, , problem]) => problem !== null),
    [],
  );
  assert.deepEqual(results.map(([, kind]) => kind).sort(), [
    'Deployment',
    'InferenceService',
    'NetworkPolicy',
    'PersistentVolumeClaim',
    'PersistentVolumeClaim',
    'PodDisruptionBudget',
    'Service',
    'Service',
    'StatefulSet',
  ]);
});

test('a misspelt field in any part of a manifest is found', async () => {
  const [, , triton, kserve] = FILES;
  for (const [file, from, to] of [
    [triton, 'podManagementPolicy', 'podManagmentPolicy'],
    [triton, 'failureThreshold', 'failureTreshold'],
    [kserve, 'storageUri', 'storageURI'],
    [kserve, 'limits', 'limit'],
  ] as const) {
    const wrong = join(scratch, 'wrong.yaml');
    writeFileSync(wrong, readFileSync(file, 'utf8').replace(from, to));
    const problems = (await check(wrong)).flatMap(([, , problem]) => problem ?? []);
    assert.equal(problems.length, 1);
    assert.match(problems[0], new RegExp(to));
  }
});
