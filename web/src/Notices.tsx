import { useSignal, type Signal } from '@preact/signals';
import { useEffect } from 'preact/hooks';
import { connection, obstacle, useKey } from './connection.js';
import { Icon } from './Icon.js';
import { notice, offer, type Notice } from './notice.js';

const INFO_MS = 8000;

/** What the page has to say: about its connection, and what the last action led to. */
export function Notices() {
  const { value } = notice;
  useEffect(() => {
    if (value?.kind !== 'info') return;
    const timer = setTimeout(() => (notice.value = undefined), INFO_MS);
    return () => clearTimeout(timer);
  }, [value]);
  return (
    <div class="notices">
      {connection.value === 'lost' && (
        <p class="notice error" role="alert">
          The server does not answer. The page connects again as soon as it does.
        </p>
      )}
      {connection.value === 'locked' && <KeyForm />}
      <Message of={offer} />
      <Message of={notice} />
    </div>
  );
}

function Message({ of }: { readonly of: Signal<Notice | undefined> }) {
  const { value } = of;
  if (!value) return null;
  const { kind, text, action } = value;
  return (
    <p class={`notice ${kind}`} role={kind === 'error' ? 'alert' : 'status'}>
      <span>{text}</span>
      {action && (
        <button
          type="button"
          onClick={() => {
            of.value = undefined;
            action.run();
          }}
        >
          {action.label}
        </button>
      )}
      <button type="button" class="icon-button" aria-label="Dismiss" onClick={() => (of.value = undefined)}>
        <Icon name="close" />
      </button>
    </p>
  );
}

function KeyForm() {
  const typed = useSignal('');
  return (
    <form
      class="notice key-form"
      onSubmit={(event) => {
        event.preventDefault();
        void useKey(typed.value);
      }}
    >
      <label for="key">This server requires an API key.</label>
      {obstacle.value !== undefined && <span role="alert">{obstacle.value}</span>}
      <input
        id="key"
        type="password"
        name="key"
        aria-label="API key"
        autocomplete="current-password"
        value={typed}
        onInput={(event) => (typed.value = event.currentTarget.value)}
      />
      <button type="submit" class="primary">
        Use it
      </button>
    </form>
  );
}
