import { useSignal } from '@preact/signals';
import { Icon } from './Icon.js';
import { deletePreset, isChosen, presetsFor, savedPresets, savePreset, settingsOf, type Preset } from './presets.js';
import type { FormControl } from './parameters.js';
import { parameters } from './settings.js';

interface Props {
  /** The usual number of steps of the model, and the most that the server takes. */
  readonly steps: number;
  readonly maxSteps: number;
  readonly form: readonly FormControl[];
}

/** Settings by name: some for every model, and those that the user has saved. */
export function PresetBar({ steps, maxSteps, form }: Props) {
  const name = useSignal<string | undefined>(undefined);
  const take = ({ values }: Preset) => (parameters.value = { ...parameters.value, ...values });
  const save = () => {
    const given = name.value?.trim() ?? '';
    if (given !== '') savePreset({ name: given, values: settingsOf(form, parameters.value) });
    name.value = undefined;
  };
  const chip = (preset: Preset) => (
    <button
      type="button"
      class="chip"
      aria-pressed={isChosen(preset, parameters.value)}
      title={`${preset.values.steps} steps`}
      onClick={() => take(preset)}
    >
      {preset.name}
    </button>
  );
  return (
    <div class="presets" role="group" aria-label="Presets">
      {presetsFor(steps, maxSteps).map((preset) => (
        <span key={preset.name}>{chip(preset)}</span>
      ))}
      {savedPresets.value.map((preset) => (
        <span key={`saved ${preset.name}`} class="saved">
          {chip(preset)}
          <button
            type="button"
            class="chip-end"
            aria-label={`Delete the preset ${preset.name}`}
            onClick={() => deletePreset(preset.name)}
          >
            <Icon name="close" />
          </button>
        </span>
      ))}
      {name.value === undefined ? (
        <button type="button" class="chip quiet" onClick={() => (name.value = '')}>
          Save settings
        </button>
      ) : (
        <span class="naming">
          <input
            aria-label="Name of the preset"
            placeholder="name"
            maxLength={30}
            ref={(element) => element?.focus()}
            value={name.value}
            onInput={(event) => (name.value = event.currentTarget.value)}
            onKeyDown={(event) => {
              if (event.key === 'Enter') {
                event.preventDefault();
                save();
              } else if (event.key === 'Escape') {
                event.stopPropagation();
                name.value = undefined;
              }
            }}
          />
          <button type="button" class="chip" onClick={save}>
            Save
          </button>
        </span>
      )}
    </div>
  );
}
