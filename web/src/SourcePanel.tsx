import { useSignal } from '@preact/signals';
import type { ComponentChildren } from 'preact';
import { FileInput } from './FileInput.js';
import { Icon } from './Icon.js';
import { MaskEditor } from './MaskEditor.js';
import { notice, tell } from './notice.js';
import { urlOf } from './objectUrl.js';
import { setSource, source, takeSource } from './source.js';

const UNREADABLE = 'This file is not an image that the browser can read.';

/** Takes a file as initial image, or says why not. */
export async function offerSource(file: Blob): Promise<void> {
  try {
    await takeSource(file);
    if (notice.value?.text === UNREADABLE) notice.value = undefined;
  } catch {
    tell('error', UNREADABLE);
  }
}

/** The initial image, and what to repaint of it. @param children the fields that belong to it */
export function SourcePanel({ children }: { readonly children: ComponentChildren }) {
  const isPainting = useSignal(false);
  const current = source.value;
  const drop = (event: DragEvent) => {
    const file = event.dataTransfer?.files.item(0);
    if (!file) return;
    event.preventDefault();
    // The page would read the parameters of the file.
    event.stopPropagation();
    void offerSource(file);
  };
  if (!current) {
    return (
      <label class="dropzone" onDrop={drop}>
        <Icon name="image" />
        <span>
          Start from an image <span class="quiet">(drop one here, or choose a file)</span>
        </span>
        <FileInput name="source" accept="image/*" onFile={(file) => void offerSource(file)} />
      </label>
    );
  }
  return (
    <section class="source" aria-label="Initial image" onDrop={drop}>
      <div class="source-picture">
        <img src={urlOf(current.file)} alt="The initial image" />
        {current.mask && <img class="mask" src={urlOf(current.mask)} alt="" />}
      </div>
      <div class="source-side">
        <div class="fields">{children}</div>
        <p class="quiet">
          {current.mask ? 'Only the painted part changes.' : `${current.width} × ${current.height}, all of it changes.`}
        </p>
        <div class="buttons">
          <button type="button" onClick={() => (isPainting.value = true)}>
            <Icon name="brush" /> {current.mask ? 'Edit the mask' : 'Paint a mask'}
          </button>
          {current.mask && (
            <button type="button" onClick={() => setSource({ ...current, mask: undefined })}>
              Remove the mask
            </button>
          )}
          <button type="button" onClick={() => setSource(undefined)}>
            <Icon name="close" /> Remove
          </button>
        </div>
      </div>
      {isPainting.value && (
        <MaskEditor
          source={current}
          onEnd={(mask) => {
            isPainting.value = false;
            if (mask !== undefined) setSource({ ...current, mask: mask ?? undefined });
          }}
        />
      )}
    </section>
  );
}
