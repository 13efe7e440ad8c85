// The kernels for CUDA compile for every generation of GPUs, with NVIDIA's compiler and without a GPU.
import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { compileKernels } from '../../../src/engine/cuda/kernels/cudaKernels.js';
import { loadKoffi } from '../../../src/engine/koffi.js';
import { virtualEnvironment } from '../../support/venv.js';

test('the kernels compile for GPUs from Turing to Blackwell', async () => {
  const venv = await virtualEnvironment('nvrtc-requirements.txt');
  const koffi = await loadKoffi();
  const load = (name: string) => {
    const path = readdirSync(venv, { recursive: true, encoding: 'utf8' }).find((file) => file.endsWith(name));
    assert.ok(path, `${name} is in the package`);
    return koffi.load(join(venv, path));
  };
  // It is not where the system's loader looks, but what is loaded already is found.
  const builtins = load('libnvrtc-builtins.so.13.0');
  const library = load('libnvrtc.so.13');
  for (const capability of ['75', '80', '89', '90', '100', '120']) {
    for (const halves of [1, 2, 4, 8]) {
      const digits = [capability.slice(0, -1), capability.slice(-1)].map(Number);
      const code = compileKernels(koffi, library, digits, halves);
      // An ELF file with the names of the kernels.
      const text = Buffer.from(code).toString('latin1');
      assert.equal(text.slice(1, 4), 'ELF');
      for (const kernel of ['groupNormAtOnce', 'groupMoments', 'groupNorm', 'sum', 'geglu'])
        assert.ok(text.includes(kernel));
    }
  }
  assert.ok(builtins);
  assert.throws(
    () => compileKernels(koffi, library, [1, 0], 8),
    /^Error: NVRTC: CompileProgram failed: NVRTC_ERROR_\w+ \(--gpu-architecture=sm_10 /,
  );
});
