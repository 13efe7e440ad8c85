import type { Signal } from '@preact/signals';
import type { Info } from '../../src/server/infoAnswer.js';
import { useSignal } from '@preact/signals';
import { useEffect } from 'preact/hooks';
import { hasTolerance, hasWindow, type Parameters } from './parameters.js';

interface Props {
  readonly parameters: Signal<Parameters>;
  readonly race: Signal<boolean>;
  readonly info: Info | undefined;
  readonly busy: boolean;
  readonly onDraw: () => void;
  readonly onCancel: () => void;
}

const SAMPLER_NAMES: Readonly<Record<string, string>> = {
  auto: 'auto: the fastest here',
  serial: 'serial',
  srds: 'SRDS',
  picard: 'Picard',
  paradigms: 'ParaDiGMS',
  parataa: 'ParaTAA',
};

/** What is to be drawn. Ctrl-Enter draws, Escape cancels. */
export function Form({ parameters, race, info, busy, onDraw, onCancel }: Props) {
  const value = parameters.value;
  const set = (change: Partial<Parameters>) => (parameters.value = { ...value, ...change });
  const number = (name: 'tolerance' | 'guidance') => ({
    value: value[name],
    onInput: (event: { readonly currentTarget: HTMLInputElement }) => {
      const { valueAsNumber } = event.currentTarget;
      if (Number.isFinite(valueAsNumber)) set({ [name]: valueAsNumber });
    },
  });
  const sizes = sizesOf(info, value);
  const more = useSignal(false);
  const hasMore = value.solver + value.blocks + value.window !== '';
  // What was restored is to be seen; what is emptied by hand stays where it is.
  useEffect(() => {
    if (hasMore) more.value = true;
  }, [hasMore]);
  return (
    <form
      onSubmit={(event) => {
        event.preventDefault();
        if (!busy) onDraw();
      }}
    >
      <label class="wide">
        Prompt
        <textarea
          name="prompt"
          rows={3}
          maxLength={32000}
          value={value.prompt}
          onInput={(event) => set({ prompt: event.currentTarget.value })}
          onKeyDown={(event) => {
            if (event.key === 'Enter' && (event.ctrlKey || event.metaKey)) event.currentTarget.form?.requestSubmit();
          }}
        />
      </label>
      <label>
        Steps
        <input
          name="steps"
          type="number"
          min={1}
          max={info?.limits.steps ?? 1000}
          required
          value={value.steps}
          onInput={({ currentTarget: { valueAsNumber } }) => {
            // The lengths of blocks add up to the steps they were given for.
            const blocks = /\D/.test(value.blocks) ? '' : value.blocks;
            if (Number.isFinite(valueAsNumber)) set({ steps: valueAsNumber, blocks });
          }}
        />
      </label>
      <label>
        Sampler
        <select name="sampler" value={value.sampler} onChange={(event) => set({ sampler: event.currentTarget.value })}>
          {(info?.samplers ?? [value.sampler]).map((name) => (
            <option key={name} value={name}>
              {SAMPLER_NAMES[name] ?? name}
            </option>
          ))}
        </select>
      </label>
      <label>
        Tolerance
        <input
          name="tolerance"
          type="number"
          min={0}
          max={255}
          step="any"
          required
          disabled={!hasTolerance(value.sampler)}
          {...number('tolerance')}
        />
      </label>
      <label>
        Seed
        <input
          name="seed"
          inputMode="numeric"
          pattern="\d{0,19}"
          placeholder="random"
          value={value.seed}
          onInput={(event) => set({ seed: event.currentTarget.value })}
        />
      </label>
      <label>
        Size
        <select name="size" value={value.size} onChange={(event) => set({ size: event.currentTarget.value })}>
          {sizes.map((size) => (
            <option key={size} value={size}>
              {size === 'auto' ? "the model's" : size}
            </option>
          ))}
        </select>
      </label>
      <label>
        Guidance
        <input name="guidance" type="number" min={0} max={100} step="any" required {...number('guidance')} />
      </label>
      {info && info.models.length > 1 && (
        <label>
          Model
          <select name="model" value={value.model} onChange={(event) => set({ model: event.currentTarget.value })}>
            {info.models.map(({ name }, i) => (
              <option key={name} value={i === 0 ? '' : name}>
                {name}
              </option>
            ))}
          </select>
        </label>
      )}
      <label class="wide">
        Negative prompt
        <input
          name="negative"
          maxLength={32000}
          value={value.negativePrompt}
          onInput={(event) => set({ negativePrompt: event.currentTarget.value })}
        />
      </label>
      <details class="wide" open={more.value} onToggle={(event) => (more.value = event.currentTarget.open)}>
        <summary>More</summary>
        <div class="more">
          <label>
            Solver
            <select name="solver" value={value.solver} onChange={(event) => set({ solver: event.currentTarget.value })}>
              <option value="">the model's</option>
              {(info?.solvers ?? []).map(({ name, title }) => (
                <option key={name} value={name}>
                  {title}
                </option>
              ))}
            </select>
          </label>
          <label>
            Blocks of SRDS
            <input
              name="blocks"
              pattern="\d+([ ,]+\d+)*"
              title="how many, or the steps of each"
              placeholder="default; 8; 3 5 8 9"
              disabled={value.sampler !== 'srds'}
              value={value.blocks}
              onInput={(event) => set({ blocks: event.currentTarget.value })}
            />
          </label>
          <label>
            Window of the others
            <input
              name="window"
              inputMode="numeric"
              pattern="[1-9]\d{0,3}"
              title="steps at a time"
              placeholder="default; 16"
              disabled={!hasWindow(value.sampler)}
              value={value.window}
              onInput={(event) => set({ window: event.currentTarget.value })}
            />
          </label>
        </div>
      </details>
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

/** The model's own, and others of its shape and half and twice as large, as far as they are allowed. */
function sizesOf(info: Info | undefined, { model, size }: Parameters): string[] {
  const chosen = info?.models.find(({ name }) => name === model) ?? info?.models[0];
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
  return [...new Set(['auto', size, ...sizes])];
}
