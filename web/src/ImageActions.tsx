import { connection, info } from './connection.js';
import { fileName } from './files.js';
import type { GalleryImage } from './records.js';
import { Icon } from './Icon.js';
import { tell } from './notice.js';
import { urlOf } from './objectUrl.js';
import { modelOf, toHash } from './parameters.js';
import { restoreOfImage } from './restore.js';
import { parameters } from './settings.js';
import { takeSource } from './source.js';

interface Props {
  readonly image: GalleryImage;
  /** Called after an action that changes the form. */
  readonly onUse?: () => void;
}

/** What can be done with a finished image, the download first. */
export function ImageActions({ image, onUse }: Props) {
  const { parameters: used, file } = image;
  const known = info.value;
  const useSeed = () => {
    parameters.value = { ...parameters.value, seed: used.seed };
    onUse?.();
  };
  const useSettings = () => {
    const { text, action } = known ? restoreOfImage(used, known) : { text: '' };
    if (text !== '') tell('info', text, action);
    onUse?.();
  };
  const startFrom = () => {
    void takeSource(file);
    onUse?.();
  };
  const takesImages = known && modelOf(known.models, parameters.value.model).imageToImage;
  return (
    <div class="buttons">
      <a class="button tinted" href={urlOf(file)} download={fileName(used.prompt, used.seed)}>
        <Icon name="download" /> Download
      </a>
      <button type="button" title={`Draw the next image with seed ${used.seed}`} onClick={useSeed}>
        <Icon name="seed" /> Use this seed
      </button>
      <button type="button" title="Fill the form with the settings of this image" onClick={useSettings}>
        <Icon name="settings" /> Use settings
      </button>
      {takesImages && (
        <button type="button" title="Draw the next image from this one" onClick={startFrom}>
          <Icon name="image" /> Start from it
        </button>
      )}
      {connection.value !== 'connecting' && (
        <button type="button" title="Copy a link to this page with these settings" onClick={() => void share(image)}>
          <Icon name="link" /> Copy link
        </button>
      )}
    </div>
  );
}

async function share({ parameters: used }: GalleryImage): Promise<void> {
  const hash = toHash(info.value?.form ?? [], used);
  // replaceState does not fire hashchange, so the form stays as it is.
  window.history.replaceState(undefined, '', `#${hash}`);
  const link = `${location.origin}${location.pathname}#${hash}`;
  // Pages over plain HTTP have no clipboard.
  await Promise.resolve()
    .then(() => navigator.clipboard.writeText(link))
    .then(
      () => tell('info', 'The link is copied.'),
      () => tell('info', 'The link is in the address bar.'),
    );
}
