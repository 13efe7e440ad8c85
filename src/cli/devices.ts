import { DEVICE_OPTIONS, type DeviceValues } from '../pipeline/options/devices.js';
import { openOnDevices, type OpenOnDevices } from '../pipeline/options/openOnDevices.js';
import { variableOf } from '../pipeline/options/option.js';

/**
 * The options of opening a pipeline, and the other flags. The token of endpoints is in the environment in any case.
 * @throws SrdsError INVALID_OPTION for an unknown device
 */
export async function splitDeviceFlags<Flags extends DeviceValues>(
  flags: Flags,
): Promise<{ readonly open: OpenOnDevices; readonly others: Omit<Flags, keyof DeviceValues> }> {
  const names = new Set(Object.keys(DEVICE_OPTIONS));
  const others = Object.fromEntries(Object.entries(flags).filter(([name]) => !names.has(name)));
  const token = process.env[variableOf('endpointToken')];
  const open = await openOnDevices({ ...(token && { endpointToken: token }), ...flags });
  return { open, others: others as Omit<Flags, keyof DeviceValues> };
}
