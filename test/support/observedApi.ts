import type { OrtApi } from '../../src/engine/cuda/ortApi.js';

/** An API that reports its functions to `tell`: each one before it is called, and after it has freed an object. What `tell` throws, the call throws. */
export function observed(api: OrtApi, tell: (name: string, kind: 'create' | 'call' | 'free') => void): OrtApi {
  return Object.create(api, {
    create: {
      value: (...args: Parameters<OrtApi['create']>) => {
        tell(args[0], 'create');
        return api.create(...args);
      },
    },
    call: {
      value: (...args: Parameters<OrtApi['call']>) => {
        tell(args[0], 'call');
        api.call(...args);
      },
    },
    free: {
      value: (...args: Parameters<OrtApi['free']>) => {
        api.free(...args);
        tell(args[0], 'free');
      },
    },
  }) as OrtApi;
}
