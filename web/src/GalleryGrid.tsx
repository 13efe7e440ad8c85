import { useSignal } from '@preact/signals';
import { useLayoutEffect, useRef } from 'preact/hooks';
import { focusImage } from './focus.js';
import { clearGallery, gallery } from './gallery.js';
import { Icon } from './Icon.js';
import { deleteImage } from './ImageViewer.js';
import { urlOf } from './objectUrl.js';
import { counted } from './progress.js';
import { openImage } from './viewer.js';

/** The images of this browser. */
export function GalleryGrid() {
  const asks = useSignal(false);
  const all = gallery.value;
  const section = useRef<HTMLElement>(null);
  // What has the focus is known only until rendering takes it out.
  const hadFocus = section.current?.contains(document.activeElement) ?? false;
  const focused = [...(section.current?.querySelectorAll('li') ?? [])].findIndex((item) =>
    item.contains(document.activeElement),
  );
  useLayoutEffect(() => {
    if (!hadFocus || section.current?.contains(document.activeElement)) return;
    const question = section.current?.querySelector<HTMLElement>('header button:last-child');
    if (focused < 0 && question) question.focus();
    else focusImage(focused);
  });
  if (all.length === 0) return null;
  return (
    <section ref={section} class="gallery" aria-label="Gallery">
      <header>
        <h2>Gallery</h2>
        <span class="quiet">{counted(all.length, 'image')} in this browser</span>
        {asks.value ? (
          <span class="buttons">
            <button
              type="button"
              class="danger"
              onClick={() => {
                asks.value = false;
                void clearGallery();
              }}
            >
              Delete {counted(all.length, 'image')}
            </button>
            <button type="button" onClick={() => (asks.value = false)}>
              Keep them
            </button>
          </span>
        ) : (
          <button type="button" class="text" onClick={() => (asks.value = true)}>
            Delete all
          </button>
        )}
      </header>
      <ul>
        {all.map((image) => (
          <li key={image.id}>
            <button
              type="button"
              class="tile"
              title={image.parameters.prompt}
              onClick={() => openImage(image.id)}
              onKeyDown={(event) => {
                if (event.key === 'Delete') void deleteImage(image);
              }}
            >
              <img src={urlOf(image.thumbnail)} alt={image.parameters.prompt || 'no prompt'} loading="lazy" />
            </button>
            <button
              type="button"
              class="tile-delete"
              aria-label={`Delete: ${image.parameters.prompt}`}
              onClick={() => void deleteImage(image)}
            >
              <Icon name="trash" />
            </button>
          </li>
        ))}
      </ul>
    </section>
  );
}
