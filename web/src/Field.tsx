import type { FormChoice, FormControl } from '../../src/pipeline/options/form.js';

interface Props {
  readonly control: FormControl;
  readonly value: string | number;
  readonly disabled: boolean;
  /** The choices of a list; default: those of the control. */
  readonly choices?: readonly FormChoice[] | undefined;
  readonly onChange: (value: string | number) => void;
}

/** A labelled control of the form. */
export function Field(props: Props) {
  const { label, wide } = props.control;
  return (
    <label {...(wide && { class: 'wide' })}>
      {label}
      <Input {...props} />
    </label>
  );
}

function Input({ control, value, disabled, choices = control.choices ?? [], onChange }: Props) {
  const { name, kind, initial, min, max, placeholder, hint, pattern } = control;
  switch (kind) {
    case 'hidden':
      return null;
    case 'paragraph':
      return (
        <textarea
          name={name}
          rows={3}
          {...(max !== undefined && { maxLength: max })}
          value={value}
          onInput={(event) => onChange(event.currentTarget.value)}
          onKeyDown={(event) => {
            if (event.key === 'Enter' && (event.ctrlKey || event.metaKey)) event.currentTarget.form?.requestSubmit();
          }}
        />
      );
    case 'choice':
    case 'size':
      return (
        <select name={name} value={value} disabled={disabled} onChange={(event) => onChange(event.currentTarget.value)}>
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
          name={name}
          type="number"
          {...(min !== undefined && { min })}
          {...(max !== undefined && { max })}
          step={kind === 'integer' ? 1 : 'any'}
          required={initial !== ''}
          {...(placeholder !== undefined && { placeholder })}
          {...(hint !== undefined && { title: hint })}
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
          name={name}
          {...(max !== undefined && { maxLength: max })}
          {...(placeholder !== undefined && { placeholder })}
          {...(hint !== undefined && { title: hint })}
          {...(pattern !== undefined && { pattern })}
          disabled={disabled}
          value={value}
          onInput={(event) => onChange(event.currentTarget.value)}
        />
      );
  }
}
