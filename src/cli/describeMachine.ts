import { cpus } from 'node:os';
import { gpuNames } from '../engine/local/gpuNames.js';
import type { Pipeline } from '../pipeline/pipeline.js';
import { version } from '../version.js';

/** What a benchmark ran on, on one line: model, devices, precision, fused operators and versions. */
export async function describeMachine({ engine, model }: Pipeline): Promise<string> {
  const { precision = 'as stored', fused } = engine.graphs.get(model.family.network) ?? {};
  const processors = cpus();
  const gpus = await gpuNames();
  const parts = [
    `${model.name} on ${engine.device}`,
    `precision ${precision}`,
    ...(engine.buckets.length > 0 ? [`buckets ${engine.buckets.join(' ')}`] : []),
    ...(fused
      ? [
          `${fused.attentions} attentions, ${fused.normalizations} group normalizations and ${fused.residuals} residuals fused, ` +
            `${fused.projections} joint projections`,
        ]
      : []),
    ...gpus,
    `${processors.length} x ${processors[0].model.trim()}`,
    `Node ${process.version}`,
    `srds ${version()}`,
  ];
  return parts.join('; ');
}
