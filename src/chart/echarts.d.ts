/** The part of echarts that this module uses. The package's own types do not resolve for ECMAScript modules. */
declare module 'echarts' {
  export interface RenderApi {
    value(dimension: number): number | string;
    /** The position of a point, in pixels. */
    coord(point: readonly [x: number, y: number]): [x: number, y: number];
  }

  export interface Rectangle {
    readonly type: 'rect';
    readonly shape: { readonly x: number; readonly y: number; readonly width: number; readonly height: number };
    readonly style: { readonly fill: string };
  }

  export type RenderItem = (
    parameters: unknown,
    api: RenderApi,
  ) => Rectangle | { readonly type: 'group'; readonly children: readonly Rectangle[] };

  export interface Chart {
    setOption(option: object): void;
    renderToSVGString(): string;
    dispose(): void;
  }

  export function init(
    element: null,
    theme: null,
    options: { readonly renderer: 'svg'; readonly ssr: true; readonly width: number; readonly height: number },
  ): Chart;
}
