import { effect, untracked } from '@preact/signals';
import { render } from 'preact';
import { App } from './App.js';
import { connect, info } from './connection.js';
import { followForecast } from './forecast.js';
import { readGallery } from './gallery.js';
import { activeJobs, drawAgain, takeInterrupted } from './jobs.js';
import { offer, tell } from './notice.js';
import { counted } from './progress.js';
import { restoreFromLink } from './restore.js';
import { restoreForm } from './settings.js';
import { readSource } from './source.js';

function readLink(): void {
  if (!info.value || location.hash === '') return;
  const omitted = restoreFromLink(location.hash, info.value);
  if (omitted !== '') tell('info', omitted);
}

/** A page that is left ends what it draws; the same seed gives the same image again. */
function offerInterrupted(): void {
  const interrupted = takeInterrupted();
  if (interrupted.length === 0) return;
  const what = interrupted.length === 1 ? 'an image that was' : `${counted(interrupted.length, 'image')} that were`;
  offer.value = {
    kind: 'error',
    text: `Leaving the page ended ${what} being drawn.`,
    action: {
      label: 'Draw again',
      run: () => {
        for (const parameters of interrupted) drawAgain(parameters, false);
      },
    },
  };
}

effect(() => {
  document.title = activeJobs.value.length > 0 ? 'Drawing … srds' : 'srds';
});
addEventListener('hashchange', readLink);
render(<App />, document.getElementById('app') as HTMLElement);
let isKnown = false;
effect(() => {
  const known = info.value;
  if (!known || isKnown) return;
  isKnown = true;
  untracked(() => {
    restoreForm(known);
    readLink();
    offerInterrupted();
    followForecast();
  });
});
void readGallery();
void readSource();
void connect();
