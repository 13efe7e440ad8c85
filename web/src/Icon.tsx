const PATHS = {
  close: 'M6 6l12 12M18 6L6 18',
  download: 'M12 4v11m0 0l-4.5-4.5M12 15l4.5-4.5M5 20h14',
  trash: 'M5 7h14M10 7V4.5h4V7m3 0l-.8 12.5H7.8L7 7m3.5 3.5v6m3-6v6',
  seed: 'M4 8h12m0 0l-3-3m3 3l-3 3M20 16H8m0 0l3-3m-3 3l3 3',
  settings: 'M4 7h9m4 0h3M4 17h3m4 0h9M15 4.5v5M9 14.5v5',
  image: 'M4.5 5.5h15v13h-15zM4.5 16l4.5-4.5 4 4 2.5-2.5 4 4M15.5 9.2h.01',
  brush:
    'M20 4l-9.5 9.5M10.500 13.500a3 3 0 0 0-4.200 1.200C5.500 16.500 5.500 18 4 19c3 .8 6.500.5 8-1.800a2.800 2.800 0 0 0-1.500-3.700z',
  link: 'M10 14a4 4 0 0 0 5.700 0l3-3a4 4 0 0 0-5.700-5.700l-1 1M14 10a4 4 0 0 0-5.700 0l-3 3a4 4 0 0 0 5.700 5.700l1-1',
  left: 'M14.500 5l-7 7 7 7',
  right: 'M9.500 5l7 7-7 7',
  plus: 'M12 5v14M5 12h14',
  minus: 'M5 12h14',
  expand: 'M9 4H4v5M15 4h5v5M9 20H4v-5M15 20h5v-5',
} as const;

export type IconName = keyof typeof PATHS;

/** A picture beside or instead of a label, for the eye only. */
export function Icon({ name }: { readonly name: IconName }) {
  return (
    <svg class="icon" viewBox="0 0 24 24" aria-hidden="true">
      <path d={PATHS[name]} />
    </svg>
  );
}
