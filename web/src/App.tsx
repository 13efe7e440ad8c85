import { useSignal } from '@preact/signals';
import { useEffect } from 'preact/hooks';
import { info } from './connection.js';
import { FileInput } from './FileInput.js';
import { Form } from './Form.js';
import { GalleryGrid } from './GalleryGrid.js';
import { ImageViewer } from './ImageViewer.js';
import { activeJobs, cancelAll } from './jobs.js';
import { tell } from './notice.js';
import { Notices } from './Notices.js';
import { usePageKeys } from './pageKeys.js';
import { modelOf } from './parameters.js';
import { restoreFromFile, type Restored } from './restore.js';
import { parameters } from './settings.js';
import { offerSource } from './SourcePanel.js';
import { Stage } from './Stage.js';

export function App() {
  const isDragged = useFileDrops();
  usePageKeys(({ key }) => {
    if (key === 'Escape' && activeJobs.value.length > 0) cancelAll();
  });
  const known = info.value;
  return (
    <>
      <header class="top">
        <h1>
          <img src="/icon.svg" alt="" width={28} height={28} /> srds
        </h1>
        {known && known.models.length > 0 && (
          <span class="quiet">{modelOf(known.models, parameters.value.model).name}</span>
        )}
      </header>
      <Notices />
      <main class={isDragged ? 'dragged' : ''}>
        <div class="ask">{known ? <Form info={known} /> : <p class="quiet">Connecting to the server …</p>}</div>
        <div class="show">
          <Stage />
          <GalleryGrid />
        </div>
      </main>
      <footer class="quiet">
        <label class="text-button">
          Restore settings from an image
          <FileInput name="restore" accept="image/png,image/jpeg,image/webp" onFile={(file) => void restore(file)} />
        </label>
        <span>Ctrl-Enter draws, Escape cancels</span>
        <span>
          srds {known?.version}, <a href="/openapi.json">API</a>
        </span>
      </footer>
      <ImageViewer />
    </>
  );
}

/** Takes the settings of a file, or says why not. */
async function restore(file: File): Promise<void> {
  const known = info.value;
  if (!known) return tell('error', 'The server has not answered yet.');
  const restored = await restoreFromFile(file, known);
  if (restored) tellRestored(restored);
  else tell('error', 'This file has no settings that this page knows.');
}

function tellRestored({ text, action }: Restored): void {
  tell('info', `The settings of the file are in the form. ${text}`.trim(), action);
}

/** Takes the settings of a file that is dropped on the page; a file without settings becomes the initial image. */
async function takeDropped(file: File): Promise<void> {
  const known = info.value;
  const restored = known && (await restoreFromFile(file, known));
  if (restored) tellRestored(restored);
  else if (known && modelOf(known.models, parameters.value.model).imageToImage) await offerSource(file);
  else tell('error', 'This file has no settings that this page knows.');
}

/** Files can be dropped anywhere. @returns whether one is above the page */
function useFileDrops(): boolean {
  const isDragged = useSignal(false);
  useEffect(() => {
    const controller = new AbortController();
    const { signal } = controller;
    const over = (event: DragEvent) => {
      event.preventDefault();
      isDragged.value = true;
    };
    const leave = (event: DragEvent) => {
      if (event.relatedTarget === null) isDragged.value = false;
    };
    const drop = (event: DragEvent) => {
      event.preventDefault();
      isDragged.value = false;
      const file = event.dataTransfer?.files.item(0);
      if (file) void takeDropped(file);
    };
    addEventListener('dragover', over, { signal });
    addEventListener('dragleave', leave, { signal });
    addEventListener('drop', drop, { signal });
    // A drop that a part of the page takes does not reach the listener above.
    addEventListener('drop', () => (isDragged.value = false), { signal, capture: true });
    return () => controller.abort();
  }, []);
  return isDragged.value;
}
