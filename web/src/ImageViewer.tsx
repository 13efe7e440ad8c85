import { useSignal } from '@preact/signals';
import { useEffect, useRef } from 'preact/hooks';
import { Dialog } from './Dialog.js';
import { focusImage } from './focus.js';
import { gallery, put, removeFromGallery } from './gallery.js';
import type { GalleryImage } from './records.js';
import { Icon } from './Icon.js';
import { ImageActions } from './ImageActions.js';
import { tell } from './notice.js';
import { urlOf } from './objectUrl.js';
import { secondsText } from './progress.js';
import { openImage, viewed } from './viewer.js';

const ZOOM_STEP = 1.5;
const MAX_ZOOM = 16;

/** An image of the gallery at full size: zoom, move, go to the next, and all that can be done with it. */
export function ImageViewer() {
  const all = gallery.value;
  const at = all.findIndex(({ id }) => id === viewed.value);
  const close = () => (viewed.value = undefined);
  if (at < 0) return null;
  const image = all[at];
  const go = (by: number) => {
    const next = all.at(at + by);
    if (at + by >= 0 && next) openImage(next.id);
  };
  const remove = () => {
    void deleteImage(image);
    const next = all.at(at + 1) ?? all.at(at - 1);
    viewed.value = next && next.id !== image.id ? next.id : undefined;
  };
  return (
    <Dialog
      title={image.parameters.prompt || 'Image without a prompt'}
      onClose={close}
      onOrphaned={() => focusImage(0)}
      onKey={(key) => {
        if (key === 'ArrowLeft') go(-1);
        else if (key === 'ArrowRight') go(1);
      }}
    >
      <Zoomable key={image.id} image={image} />
      <div class="viewer-foot">
        <ImageActions image={image} onUse={close} />
        <div class="buttons">
          <button type="button" class="danger" onClick={remove}>
            <Icon name="trash" /> Delete
          </button>
          <button type="button" aria-label="Newer image" disabled={at === 0} onClick={() => go(-1)}>
            <Icon name="left" />
          </button>
          <button type="button" aria-label="Older image" disabled={at === all.length - 1} onClick={() => go(1)}>
            <Icon name="right" />
          </button>
        </div>
        <p class="quiet">{summaryOf(image)}</p>
      </div>
    </Dialog>
  );
}

/** Deletes an image, which can be taken back. */
export async function deleteImage(image: GalleryImage): Promise<void> {
  await removeFromGallery(image.id);
  tell('info', 'The image is deleted.', { label: 'Undo', run: () => void put(image) });
}

function Zoomable({ image }: { readonly image: GalleryImage }) {
  const { width, height, file, parameters } = image;
  /** Pixels of the screen for each of the image; undefined: as large as fits. */
  const zoom = useSignal<number | undefined>(undefined);
  const frame = useRef<HTMLDivElement>(null);
  const grabbed = useRef<{ readonly x: number; readonly y: number } | undefined>(undefined);
  const fitting = () => {
    const box = frame.current;
    return box ? Math.min(box.clientWidth / width, box.clientHeight / height) : 1;
  };
  const change = (by: number) => {
    zoom.value = Math.min(MAX_ZOOM, Math.max(0.1, (zoom.value ?? fitting()) * by));
  };
  useEffect(() => frame.current?.focus(), []);
  return (
    <>
      <div
        ref={frame}
        class={`zoomable ${zoom.value === undefined ? 'fits' : ''}`}
        tabIndex={0}
        role="group"
        aria-label="Image. Plus and minus zoom, the arrow keys go to the next image."
        onKeyDown={(event) => {
          if (event.key === '+') change(ZOOM_STEP);
          else if (event.key === '-') change(1 / ZOOM_STEP);
          else if (event.key === '0') zoom.value = undefined;
          else {
            // The arrow keys scroll an image that is zoomed into.
            if (event.key.startsWith('Arrow') && zoom.value !== undefined) event.stopPropagation();
            return;
          }
          event.preventDefault();
        }}
        onWheel={(event) => {
          if (!event.ctrlKey) return;
          event.preventDefault();
          change(event.deltaY < 0 ? 1.1 : 1 / 1.1);
        }}
        onPointerDown={({ clientX, clientY, pointerType }) => {
          if (pointerType === 'mouse') grabbed.current = { x: clientX, y: clientY };
        }}
        onPointerMove={({ clientX, clientY, currentTarget }) => {
          if (!grabbed.current) return;
          currentTarget.scrollLeft -= clientX - grabbed.current.x;
          currentTarget.scrollTop -= clientY - grabbed.current.y;
          grabbed.current = { x: clientX, y: clientY };
        }}
        onPointerUp={() => (grabbed.current = undefined)}
        onPointerLeave={() => (grabbed.current = undefined)}
        onDblClick={() => (zoom.value = zoom.value === undefined ? Math.max(2, 2 * fitting()) : undefined)}
      >
        <img
          src={urlOf(file)}
          alt={parameters.prompt}
          draggable={false}
          style={zoom.value === undefined ? { '--ratio': width / height } : { width: `${width * zoom.value}px` }}
        />
      </div>
      <div class="zoom buttons">
        <button type="button" aria-label="Smaller" onClick={() => change(1 / ZOOM_STEP)}>
          <Icon name="minus" />
        </button>
        <button type="button" onClick={() => (zoom.value = undefined)}>
          Fit
        </button>
        <button type="button" onClick={() => (zoom.value = 1)}>
          Actual pixels
        </button>
        <button type="button" aria-label="Larger" onClick={() => change(ZOOM_STEP)}>
          <Icon name="plus" />
        </button>
      </div>
    </>
  );
}

function summaryOf({ parameters, width, height, seconds, at }: GalleryImage): string {
  const { steps, sampler, seed, guidance } = parameters;
  const when = new Date(at).toLocaleString(undefined, { dateStyle: 'medium', timeStyle: 'short' });
  return `${width} × ${height}, ${steps} steps, ${sampler}, guidance ${guidance}, seed ${seed}, ${secondsText(seconds)}, ${when}`;
}
