import { useSignal } from '@preact/signals';
import { useEffect, useRef } from 'preact/hooks';
import type { FormChoice } from '../../src/pipeline/options/form.js';
import type { Info } from '../../src/server/infoAnswer.js';
import { expectationOf } from './experience.js';
import { Field } from './Field.js';
import { forecast } from './forecast.js';
import { activeJobs, cancelAll, draw } from './jobs.js';
import { changed, modelOf, takes, type FormControl } from './parameters.js';
import { usePageKeys } from './pageKeys.js';
import { PresetBar } from './PresetBar.js';
import { parameters, race } from './settings.js';
import type { SourceImage } from './records.js';
import { source } from './source.js';
import { SourcePanel } from './SourcePanel.js';

/** Where settings stand below the button, they are closed at first. */
const isNarrow = matchMedia('(max-width: 56rem)').matches;

/** The options of the next images, as the server describes them. Ctrl-Enter draws. */
export function Form({ info }: { readonly info: Info }) {
  const value = parameters.value;
  const { form, models, limits } = info;
  const model = modelOf(models, value.model);
  const active = activeJobs.value.length;
  const element = useRef<HTMLFormElement>(null);
  usePageKeys((event) => {
    if (event.key !== 'Enter' || !(event.ctrlKey || event.metaKey)) return;
    // The browser may press the focused button, or submit the form a second time.
    event.preventDefault();
    if (!event.repeat) element.current?.requestSubmit();
  });
  const field = (control: FormControl) => (
    <Field
      key={control.name}
      control={control}
      value={value[control.name] ?? control.initial}
      disabled={!takes(control, value.sampler)}
      choices={
        control.kind === 'size'
          ? sizesOf(model, String(value[control.name] ?? 'auto'), model.imageToImage ? source.value : undefined)
          : control.choices
      }
      onChange={(given) => (parameters.value = changed(form, value, control.name, given))}
    />
  );
  const inGroup = (group: FormControl['group']) => form.filter((control) => control.group === group);
  const settings = inGroup('main').filter(({ name }) => name !== 'prompt' && name !== 'n');
  const expectation = forecast.value ?? expectationOf(value);
  const count = form.find(({ name }) => name === 'n');
  return (
    <form
      ref={element}
      aria-label="What to draw"
      onSubmit={(event) => {
        event.preventDefault();
        draw();
      }}
    >
      {form.filter(({ name }) => name === 'prompt').map(field)}
      <div class="draw">
        <button type="submit" class="primary">
          Draw
        </button>
        {count && (
          <label class="count" title={count.help}>
            {count.label}
            <input
              type="number"
              name="n"
              min={1}
              max={count.max}
              required
              value={value.n}
              onInput={({ currentTarget: { valueAsNumber } }) => {
                if (Number.isFinite(valueAsNumber)) parameters.value = { ...value, n: valueAsNumber };
              }}
            />
          </label>
        )}
        {active > 0 && (
          <button type="button" onClick={cancelAll}>
            {active > 1 ? 'Cancel all' : 'Cancel'}
          </button>
        )}
      </div>
      <PresetBar steps={model.initial.steps} maxSteps={limits.steps} form={form} />
      {model.imageToImage && <SourcePanel>{inGroup('image').map(field)}</SourcePanel>}
      <Section title="Settings" isOpen={!isNarrow} of={element}>
        {models.length > 1 && (
          <div class="field wide">
            <label for="model">Model</label>
            <select
              id="model"
              name="model"
              value={value.model}
              onChange={({ currentTarget }) => {
                const { initial } = modelOf(models, currentTarget.value);
                parameters.value = { ...value, ...initial, size: 'auto', model: currentTarget.value };
              }}
            >
              {models.map(({ name }, i) => (
                <option key={name} value={i === 0 ? '' : name}>
                  {name}
                </option>
              ))}
            </select>
          </div>
        )}
        {settings.map(field)}
        {expectation !== undefined && <p class="quiet wide">{expectation}</p>}
      </Section>
      <Section
        title="More"
        isOpen={inGroup('more').some(({ name, initial }) => name in value && value[name] !== initial)}
        of={element}
      >
        {inGroup('more').map(field)}
        <label class="wide check">
          <input
            type="checkbox"
            name="race"
            checked={race}
            onChange={(event) => (race.value = event.currentTarget.checked)}
          />
          Draw with the serial sampler too, side by side
        </label>
      </Section>
    </form>
  );
}

/** A part of the form that opens when it should, and when one of its fields is not valid; the user closes it. */
function Section({
  title,
  isOpen,
  of,
  children,
}: {
  readonly title: string;
  readonly isOpen: boolean;
  readonly of: { readonly current: HTMLFormElement | null };
  readonly children: preact.ComponentChildren;
}) {
  const open = useSignal(isOpen);
  const element = useRef<HTMLDetailsElement>(null);
  useEffect(() => {
    if (isOpen) open.value = true;
  }, [isOpen]);
  useEffect(() => {
    // Browsers cannot show what is wrong with a field that is not shown.
    const onInvalid = (event: Event) => {
      if (element.current?.contains(event.target as Node)) element.current.open = true;
    };
    of.current?.addEventListener('invalid', onInvalid, true);
    return () => of.current?.removeEventListener('invalid', onInvalid, true);
  }, []);
  return (
    <details ref={element} open={open.value} onToggle={(event) => (open.value = event.currentTarget.open)}>
      <summary>{title}</summary>
      <div class="fields">{children}</div>
    </details>
  );
}

/**
 * The model's size, and others of its shape up to twice as large, within the server's limit.
 * @param initial the initial image, whose size is in place of the model's
 */
function sizesOf(model: Info['models'][number], chosen: string, initial: SourceImage | undefined): FormChoice[] {
  const { width, height, pixels, sizeStep } = model;
  const pairs = [
    [width / 2, height / 2],
    [width * 1.5, height],
    [width, height * 1.5],
    [width * 2, height * 2],
  ];
  const sizes = pairs
    .filter(([w, h]) => w > 0 && w * h <= pixels && w % sizeStep === 0 && h % sizeStep === 0)
    .map(([w, h]) => `${w}x${h}`);
  const all = new Set(['auto', chosen, ...sizes]);
  return [...all].map((value) => ({
    value,
    title: value === 'auto' ? automaticSize(model, initial) : value.replace('x', ' × '),
  }));
}

/** The size of an image for which none is chosen, as the server finds it. */
function automaticSize(model: Info['models'][number], initial: SourceImage | undefined): string {
  const { pixels, sizeStep } = model;
  const { width, height } = initial ?? model;
  if (initial && (width * height > pixels || Math.min(width, height) < sizeStep))
    return 'in the shape of the initial image';
  const [w, h] = [width, height].map((side) => side - (side % sizeStep));
  return `${w} × ${h}`;
}
