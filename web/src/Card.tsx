import type { ComponentChildren } from 'preact';

interface Props {
  readonly label: string;
  readonly phase: string;
  readonly isBusy: boolean;
  readonly children: ComponentChildren;
}

/** Pictures, and what belongs to them: side by side where there is room. */
export function Card({ label, phase, isBusy, children }: Props) {
  return (
    <section class={`run ${phase}`} aria-label={label} aria-busy={isBusy}>
      <div class="inner">{children}</div>
    </section>
  );
}
