import type { ComponentChildren } from 'preact';
import { useEffect, useId, useRef } from 'preact/hooks';
import { Icon } from './Icon.js';

interface Props {
  readonly title: string;
  /** Called when the user closes it. */
  readonly onClose: () => void;
  readonly onKey?: (key: string) => void;
  /** Called when it has closed and what opened it is gone; it gets the focus back otherwise. */
  readonly onOrphaned?: () => void;
  readonly children: ComponentChildren;
}

/** A window above the page. Escape closes it. */
export function Dialog({ title, onClose, onKey, onOrphaned, children }: Props) {
  const element = useRef<HTMLDialogElement>(null);
  const id = useId();
  // Content that takes the focus does so before the window opens, so the browser would not know.
  const opener = useRef(document.activeElement);
  useEffect(() => {
    const dialog = element.current;
    dialog?.showModal();
    return () => {
      dialog?.close();
      const { current } = opener;
      if (current instanceof HTMLElement && current.isConnected) current.focus();
      else onOrphaned?.();
    };
  }, []);
  return (
    <dialog
      ref={element}
      aria-labelledby={id}
      onCancel={(event) => {
        event.preventDefault();
        onClose();
      }}
      onKeyDown={(event) => onKey?.(event.key)}
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
