import type { Signal } from '@preact/signals';
import type { Info } from '../../src/server/infoAnswer.js';
import { useSignal } from '@preact/signals';
import { useEffect } from 'preact/hooks';
import type { FormChoice } from '../../src/pipeline/options/form.js';
import { Field } from './Field.js';
import { changed, takes, type FormControl, type Parameters } from './parameters.js';

interface Props {
  readonly parameters: Signal<Parameters>;
  readonly race: Signal<boolean>;
  readonly info: Info | undefined;
  readonly busy: boolean;
  readonly onDraw: () => void;
  readonly onCancel: () => void;
}

/** The options of the next image, as the server describes them. Ctrl-Enter generates, Escape cancels. */
export function Form({ parameters, race, info, busy, onDraw, onCancel }: Props) {
  const value = parameters.value;
  const form = info?.form ?? [];
  const more = useSignal(false);
  const [main, others] = [form.filter(({ group }) => group === 'main'), form.filter(({ group }) => group === 'more')];
  const hasMore = others.some(({ name, initial }) => name in value && value[name] !== initial);
  // Restored values are shown; a field that the user empties stays visible.
  useEffect(() => {
    if (hasMore) more.value = true;
  }, [hasMore]);
  const field = (control: FormControl) => (
    <Field
      key={control.name}
      control={control}
      value={value[control.name] ?? control.initial}
      disabled={!takes(control, value.sampler)}
      choices={control.kind === 'size' ? sizesOf(info, value, control.name) : control.choices}
      onChange={(given) => (parameters.value = changed(form, value, control.name, given))}
    />
  );
  return (
    <form
      onSubmit={(event) => {
        event.preventDefault();
        if (!busy) onDraw();
      }}
    >
      {main.map(field)}
      {info && info.models.length > 1 && (
        <label>
          Model
          <select
            name="model"
            value={value.model}
            onChange={({ currentTarget }) => {
              const { initial } = info.models.find(({ name }) => name === currentTarget.value) ?? info.models[0];
              parameters.value = { ...value, ...initial, model: currentTarget.value };
            }}
          >
            {info.models.map(({ name }, i) => (
              <option key={name} value={i === 0 ? '' : name}>
                {name}
              </option>
            ))}
          </select>
        </label>
      )}
      {others.length > 0 && (
        <details class="wide" open={more.value} onToggle={(event) => (more.value = event.currentTarget.open)}>
          <summary>More</summary>
          <div class="more">{others.map(field)}</div>
        </details>
      )}
      <label class="wide check">
        <input
          type="checkbox"
          name="race"
          checked={race}
          onChange={(event) => (race.value = event.currentTarget.checked)}
        />
        Race the serial sampler, side by side
      </label>
      <p class="wide actions">
        <button type="submit" disabled={busy || !info}>
          Draw
        </button>
        <button type="button" onClick={onCancel} disabled={!busy}>
          Cancel
        </button>
        <span class="hint">Ctrl-Enter draws, Escape cancels</span>
      </p>
    </form>
  );
}

/** The model's size, and others of its shape up to twice as large, within the server's limit. */
function sizesOf(info: Info | undefined, parameters: Parameters, name: string): FormChoice[] {
  const { model } = parameters;
  const chosen = info?.models.find((one) => one.name === model) ?? info?.models[0];
  const { width = 0, height = 0, pixels: most = 0 } = chosen ?? {};
  const pairs = [
    [width / 2, height / 2],
    [width, height],
    [width * 1.5, height],
    [width, height * 1.5],
    [width * 2, height * 2],
  ];
  const sizes = pairs
    .filter(([w, h]) => w > 0 && w * h <= most && w % 8 === 0 && h % 8 === 0)
    .map(([w, h]) => `${w}x${h}`);
  const all = new Set(['auto', String(parameters[name] ?? 'auto'), ...sizes]);
  return [...all].map((value) => ({ value, title: value === 'auto' ? "the model's" : value }));
}
