import { useSignal } from '@preact/signals';
import { useId } from 'preact/hooks';
import type { FormChoice, FormControl } from '../../src/pipeline/options/form.js';

interface Props {
  readonly control: FormControl;
  readonly value: string | number;
  readonly disabled: boolean;
  /** The choices of a list; default: those of the control. */
  readonly choices?: readonly FormChoice[] | undefined;
  readonly onChange: (value: string | number) => void;
}

/** A labelled control of the form, with a button that explains it. */
export function Field(props: Props) {
  const { label, wide, help, kind } = props.control;
  const id = useId();
  const isExplained = useSignal(false);
  if (kind === 'hidden') return null;
  return (
    <div class={`field ${wide ? 'wide' : ''}`}>
      <div class="label">
        <label for={id}>{label}</label>
        {help !== undefined && (
          <button
            type="button"
            class="help"
            title={help}
            aria-label={`What ${label} means`}
            aria-expanded={isExplained.value}
            onClick={() => (isExplained.value = !isExplained.value)}
          >
            ?
          </button>
        )}
      </div>
      <Input id={id} {...props} />
      {isExplained.value && (
        <p class="note" role="note">
          {help}
        </p>
      )}
    </div>
  );
}

function Input({
  id,
  control,
  value,
  disabled,
  choices = control.choices ?? [],
  onChange,
}: Props & { readonly id: string }) {
  const { name, kind, initial, min, max, placeholder, pattern, patternError } = control;
  switch (kind) {
    case 'hidden':
      return null;
    case 'paragraph':
      return (
        <textarea
          id={id}
          name={name}
          rows={3}
          {...(max !== undefined && { maxLength: max })}
          value={value}
          onInput={(event) => onChange(event.currentTarget.value)}
        />
      );
    case 'choice':
    case 'size':
      return (
        <select
          id={id}
          name={name}
          value={value}
          disabled={disabled}
          onChange={(event) => onChange(event.currentTarget.value)}
        >
          {initial === '' && <option value="">{placeholder ?? 'default'}</option>}
          {choices.map((choice) => (
            <option key={choice.value} value={choice.value}>
              {choice.title}
            </option>
          ))}
        </select>
      );
    case 'integer':
    case 'number':
      return (
        <input
          id={id}
          name={name}
          type="number"
          {...(min !== undefined && { min })}
          {...(max !== undefined && { max })}
          step={kind === 'integer' ? 1 : 'any'}
          required={initial !== ''}
          {...(placeholder !== undefined && { placeholder })}
          disabled={disabled}
          value={value}
          onInput={({ currentTarget: { valueAsNumber } }) => {
            if (Number.isFinite(valueAsNumber)) onChange(valueAsNumber);
            else if (initial === '') onChange('');
          }}
        />
      );
    case 'numbers':
    case 'text':
      return (
        <input
          id={id}
          name={name}
          {...(max !== undefined && { maxLength: max })}
          {...(placeholder !== undefined && { placeholder })}
          {...(pattern !== undefined && { pattern })}
          ref={(input) => {
            input?.setCustomValidity('');
            if (patternError !== undefined && input?.validity.patternMismatch) input.setCustomValidity(patternError);
          }}
          disabled={disabled}
          value={value}
          onInput={(event) => onChange(event.currentTarget.value)}
        />
      );
  }
}
