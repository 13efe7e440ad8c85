import { effect, signal, useSignal } from '@preact/signals';
import { render } from 'preact';
import { useEffect } from 'preact/hooks';
import type { Info } from '../../src/server/infoAnswer.js';
import { getInfo, isReady, ServerError } from './api.js';
import { Form } from './Form.js';
import { forget, history, remember } from './history.js';
import {
  fromHash,
  fromInfotext,
  initialOf,
  leftOut,
  numberOf,
  requestOf,
  toHash,
  type Parameters,
  type Values,
} from './parameters.js';
import { parametersIn } from './png.js';
import { startRun, type LiveRun } from './run.js';
import { RunPanel } from './RunPanel.js';

const KEY = 'srds.key';
const RETRY_MS = 2000;

const parameters = signal<Parameters>(initialOf([]));
const race = signal(false);
const key = signal(sessionStorage.getItem(KEY) ?? '');
const info = signal<Info | undefined>(undefined);
/** The problem that the page shows; undefined if there is none. */
const trouble = signal<string | undefined>(undefined);
const needsKey = signal(false);
const runs = signal<readonly { readonly run: LiveRun; readonly parameters: Parameters }[]>([]);
const busy = signal(false);

/**
 * Takes parameters, except for choices that the server does not have.
 * @param source what a message about those calls the origin of the parameters
 */
function adopt(changes: Values, { form, models }: Info, source: string): void {
  const given: Parameters = { ...initialOf(form), ...changes };
  const { model } = given;
  const hasModel = model === '' || models.some(({ name }) => name === model);
  const lacking = form.filter(
    ({ kind, name, initial, choices = [] }) =>
      kind === 'choice' && given[name] !== initial && !choices.some(({ value }) => value === given[name]),
  );
  const unknown = [
    ...lacking.map(({ label, name }) => `the ${label.toLowerCase()} ${given[name]}`),
    ...(hasModel ? [] : [`the model ${model}`]),
  ];
  if (unknown.length > 0) {
    trouble.value = `${source} names ${unknown.join(' and ')}, which this server does not support; the defaults are used instead.`;
  }
  parameters.value = {
    ...given,
    ...Object.fromEntries(lacking.map(({ name, initial }) => [name, initial])),
    // An empty name stands for the first model.
    model: hasModel && model !== models[0]?.name ? model : '',
  };
}

async function connect(): Promise<void> {
  try {
    const found = await getInfo(key.value);
    const known = info.value !== undefined;
    info.value = found;
    trouble.value = undefined;
    adopt(known ? parameters.value : fromHash(found.form, location.hash), found, 'The link');
    needsKey.value = false;
  } catch (error) {
    needsKey.value = error instanceof ServerError && error.status === 401;
    const message = error instanceof Error ? error.message : String(error);
    trouble.value = needsKey.value && key.value === '' ? 'This server requires an API key.' : message;
    if (!needsKey.value) setTimeout(() => void reconnect(), RETRY_MS);
  }
}

/** Waits for the server and connects again. */
async function reconnect(): Promise<void> {
  if (await isReady()) await connect();
  else setTimeout(() => void reconnect(), RETRY_MS);
}

async function generateNow(): Promise<void> {
  const given = { ...parameters.value };
  busy.value = true;
  const titles = [...new Set(race.value ? ['serial', given.sampler] : [given.sampler])];
  const seed = given.seed === '' && race.value ? String(Math.floor(Math.random() * 2 ** 32)) : given.seed;
  const started: { run: LiveRun; parameters: Parameters }[] = [];
  runs.value = started;
  // One at a time, so that each has the devices for itself and the times are comparable.
  for (const sampler of titles) {
    const own = { ...given, seed, sampler };
    const request = requestOf(info.value?.form ?? [], own);
    const run = startRun(titles.length > 1 ? sampler : 'Image', request, key.value);
    started.push({ run, parameters: own });
    runs.value = [...started];
    requestAnimationFrame(showRuns);
    const { phase, done, image, message } = await run.ended;
    if (phase === 'done' && done && image !== undefined && sampler === given.sampler) {
      await remember({ ...own, seed: String(done.seed) }, image).catch(() => undefined);
    }
    if (phase === 'failed' && message.startsWith('The server cannot be reached')) {
      trouble.value = message;
      void reconnect();
    }
    if (phase !== 'done') break;
  }
  busy.value = false;
}

/** Scrolls to the image on a phone, where it is below the form. */
function showRuns(): void {
  if (matchMedia('(max-width: 46rem)').matches) document.querySelector('.runs')?.scrollIntoView();
}

function cancel(): void {
  runs.value.at(-1)?.run.cancel();
}

async function restore(file: File | undefined): Promise<void> {
  const text = file && parametersIn(await file.arrayBuffer());
  const known = info.value;
  if (!known) trouble.value = 'The server has not answered yet.';
  else if (text === undefined) trouble.value = 'The file is not a PNG with parameters.';
  else {
    trouble.value = undefined;
    adopt(fromInfotext(known.form, text), known, 'The file');
    const omitted = leftOut(known.form, text);
    if (omitted.length > 0) {
      trouble.value = [
        trouble.value,
        `Restored without the options that this page does not offer: ${omitted.join(', ')}.`,
      ]
        .filter(Boolean)
        .join(' ');
    }
  }
}

function App() {
  const raced =
    runs.value.length > 1 ? runs.value.find(({ parameters }) => parameters.sampler === 'serial') : undefined;
  const serialSeconds = raced?.run.state.value.done?.seconds;
  const dragged = useSignal(false);
  useEffect(() => {
    const onKey = (event: KeyboardEvent) => {
      if (event.key === 'Escape' && busy.value) cancel();
    };
    const over = (event: DragEvent) => {
      event.preventDefault();
      dragged.value = true;
    };
    const leave = (event: DragEvent) => {
      if (event.relatedTarget === null) dragged.value = false;
    };
    const drop = (event: DragEvent) => {
      event.preventDefault();
      dragged.value = false;
      void restore(event.dataTransfer?.files[0]);
    };
    addEventListener('keydown', onKey);
    addEventListener('dragover', over);
    addEventListener('dragleave', leave);
    addEventListener('drop', drop);
    return () => {
      removeEventListener('keydown', onKey);
      removeEventListener('dragover', over);
      removeEventListener('dragleave', leave);
      removeEventListener('drop', drop);
    };
  }, []);
  return (
    <>
      <header>
        <h1>srds</h1>
        <p>Self-Refining Diffusion Samplers: a coarse image at once, then refinements</p>
      </header>
      <main class={dragged.value ? 'dragged' : ''}>
        <div class="ask">
          {trouble.value !== undefined && (
            <p class="trouble" role="alert">
              {trouble.value}
            </p>
          )}
          {needsKey.value && <KeyForm />}
          <Form
            parameters={parameters}
            race={race}
            info={info.value}
            busy={busy.value}
            onDraw={() => void generateNow()}
            onCancel={cancel}
          />
          <p class="actions">
            <ShareButton />
            <label class="button">
              Restore from a PNG
              <input
                type="file"
                name="restore"
                accept="image/png"
                class="unseen"
                onChange={(event) => void restore(event.currentTarget.files?.[0])}
              />
            </label>
            <span class="hint">or drop one on the page</span>
          </p>
        </div>
        <div class="runs">
          {runs.value.map(({ run, parameters }, i) => (
            <RunPanel
              key={i}
              run={run}
              parameters={parameters}
              tolerance={numberOf(info.value?.form ?? [], parameters, 'tolerance')}
              serialSeconds={serialSeconds}
            />
          ))}
          {runs.value.length === 0 && <p class="hint">The image appears here, and sharpens.</p>}
        </div>
        <History />
      </main>
      <footer>
        srds {info.value?.version} · <a href="/openapi.json">API</a>
      </footer>
    </>
  );
}

function KeyForm() {
  const typed = useSignal('');
  return (
    <form
      onSubmit={(event) => {
        event.preventDefault();
        key.value = typed.value;
        sessionStorage.setItem(KEY, typed.value);
        void connect();
      }}
    >
      <label class="wide">
        API key
        <input
          type="password"
          name="key"
          autocomplete="current-password"
          value={typed}
          onInput={(event) => (typed.value = event.currentTarget.value)}
        />
      </label>
      <p class="wide actions">
        <button type="submit">Use it</button>
      </p>
    </form>
  );
}

function ShareButton() {
  const label = useSignal('Copy link');
  const share = async () => {
    // A link to a random image has its seed.
    const usedSeed = runs.value.at(-1)?.run.state.value.done?.seed;
    const { seed } = parameters.value;
    const hash = toHash(info.value?.form ?? [], {
      ...parameters.value,
      seed: seed === '' && usedSeed !== undefined ? String(usedSeed) : seed,
    });
    const link = `${location.origin}${location.pathname}#${hash}`;
    // replaceState does not fire hashchange, so the form stays as it is.
    window.history.replaceState(undefined, '', `#${hash}`);
    label.value = await navigator.clipboard.writeText(link).then(
      () => 'Copied',
      () => 'The link is in the address bar',
    );
    setTimeout(() => (label.value = 'Copy link'), RETRY_MS);
  };
  return (
    <button type="button" onClick={() => void share()}>
      {label.value}
    </button>
  );
}

function History() {
  if (history.value.length === 0) return null;
  return (
    <section class="history" aria-label="Drawn in this browser">
      <h2>Drawn in this browser</h2>
      <ul>
        {history.value.map(({ id, parameters: used, thumbnail }) => (
          <li key={id}>
            <button
              type="button"
              title={`Use again: ${used.prompt}`}
              onClick={() => (parameters.value = { ...initialOf(info.value?.form ?? []), ...used })}
            >
              <img src={thumbnail} alt={used.prompt} />
            </button>
          </li>
        ))}
      </ul>
      <button type="button" onClick={forget}>
        Forget all
      </button>
    </section>
  );
}

addEventListener('hashchange', () => {
  if (info.value) adopt(fromHash(info.value.form, location.hash), info.value, 'The link');
});
effect(() => {
  document.title = busy.value ? 'generating · srds' : 'srds';
});
render(<App />, document.getElementById('app') as HTMLElement);
void connect();
