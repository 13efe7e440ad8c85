import { setTimeout as delay } from 'node:timers/promises';
import { SrdsError } from '../errors.js';
import { version } from '../version.js';

/** Variables of OpenTelemetry that say where traces go. Without one, there are none. */
const ENDPOINTS = ['OTEL_EXPORTER_OTLP_ENDPOINT', 'OTEL_EXPORTER_OTLP_TRACES_ENDPOINT'];
/** Time that a collector has for the last traces, in milliseconds. */
const END_MS = 2000;
/** Packages that few servers need and npm does not install by itself. */
const PACKAGES = [
  '@opentelemetry/sdk-trace-node',
  '@opentelemetry/exporter-trace-otlp-http',
  '@opentelemetry/resources',
];

/**
 * Sends traces to the collector that the environment names, over OTLP as JSON. The SDK reads its other variables too, such as
 * `OTEL_SERVICE_NAME` and `OTEL_TRACES_SAMPLER`.
 * @returns sends what is left and ends the tracing, or fails after two seconds; undefined if the environment names no collector
 * @throws SrdsError INVALID_OPTION if the packages of OpenTelemetry's SDK are not installed
 */
export async function startTracing(environment: NodeJS.ProcessEnv): Promise<(() => Promise<void>) | undefined> {
  const variable = ENDPOINTS.find((name) => environment[name]);
  if (variable === undefined) return undefined;
  const { sdk, exporter, resources } = await load(variable);
  const own = { 'service.name': environment.OTEL_SERVICE_NAME ?? 'srds', 'service.version': version() };
  const detected = resources.detectResources({ detectors: [resources.envDetector] });
  const provider = new sdk.NodeTracerProvider({
    resource: detected.merge(resources.resourceFromAttributes(own)),
    spanProcessors: [new sdk.BatchSpanProcessor(new exporter.OTLPTraceExporter())],
  });
  provider.register();
  const isLate = async () => {
    await delay(END_MS, undefined, { ref: false });
    throw new Error(`no answer of the collector within ${END_MS / 1000} s`);
  };
  return () => Promise.race([provider.shutdown(), isLate()]);
}

async function load(variable: string) {
  try {
    return {
      sdk: await import('@opentelemetry/sdk-trace-node'),
      exporter: await import('@opentelemetry/exporter-trace-otlp-http'),
      resources: await import('@opentelemetry/resources'),
    };
  } catch (error) {
    throw new SrdsError(
      'INVALID_OPTION',
      `the packages ${PACKAGES.join(', ')} for the traces of ${variable}`,
      'one missing',
      'install them beside srds, or unset the variable',
      { cause: error },
    );
  }
}
