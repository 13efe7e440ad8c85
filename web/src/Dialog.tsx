import type { ComponentChildren } from 'preact';
import { useEffect, useId, useRef } from 'preact/hooks';
import { Icon } from './Icon.js';

interface Props {
  readonly title: string;
  /** Called when the user closes it. */
  readonly onClose: () => void;
  readonly onKey?: (key: string) => void;
  readonly children: ComponentChildren;
}

/** A window above the page. Escape closes it. */
export function Dialog({ title, onClose, onKey, children }: Props) {
  const element = useRef<HTMLDialogElement>(null);
  const id = useId();
  useEffect(() => {
    const dialog = element.current;
    // The element that had the focus gets it back when the window closes.
    dialog?.showModal();
    return () => dialog?.close();
  }, []);
  return (
    <dialog
      ref={element}
      aria-labelledby={id}
      onCancel={(event) => {
        event.preventDefault();
        onClose();
      }}
      onKeyDown={(event) => {
        // Escape means this window, not the runs behind it.
        if (event.key === 'Escape') event.stopPropagation();
        else onKey?.(event.key);
      }}
    >
      <header>
        <h2 id={id}>{title}</h2>
        <button type="button" class="icon-button" aria-label="Close" onClick={onClose}>
          <Icon name="close" />
        </button>
      </header>
      {children}
    </dialog>
  );
}
