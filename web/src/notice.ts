import { signal } from '@preact/signals';

/** What the page tells its user. */
export interface Notice {
  readonly kind: 'error' | 'info';
  readonly text: string;
  /** Something to do about it. */
  readonly action?: { readonly label: string; readonly run: () => void };
}

/** The notice that is shown; undefined if there is none. */
export const notice = signal<Notice | undefined>(undefined);

/** An offer that stays until it is taken or dismissed, whatever else the page has to say. */
export const offer = signal<Notice | undefined>(undefined);

export function tell(kind: Notice['kind'], text: string, action?: Notice['action']): void {
  notice.value = { kind, text, ...(action && { action }) };
}
