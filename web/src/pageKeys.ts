import { useEffect } from 'preact/hooks';

/** Listens to the keys of the page. While a dialog is open they mean that dialog. */
export function usePageKeys(onKey: (event: KeyboardEvent) => void): void {
  useEffect(() => {
    const onPageKey = (event: KeyboardEvent) => {
      if (!document.querySelector('dialog[open]')) onKey(event);
    };
    addEventListener('keydown', onPageKey);
    return () => removeEventListener('keydown', onPageKey);
  }, []);
}
