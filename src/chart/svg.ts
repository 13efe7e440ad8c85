import { init } from 'echarts';

/** A palette that colour-blind people can tell apart. Source: Okabe, Ito 2008. */
export const COLOURS = ['#0072b2', '#e69f00', '#009e73', '#cc79a7', '#56b4e9', '#d55e00', '#999999', '#f0e442'];

/** Renders a chart as SVG. @param option option of echarts @param size size in pixels */
export function toSvg(option: object, size: { readonly width: number; readonly height: number }): string {
  const chart = init(null, null, { renderer: 'svg', ssr: true, ...size });
  try {
    chart.setOption({ animation: false, backgroundColor: '#ffffff', color: COLOURS, ...option });
    return chart.renderToSVGString();
  } finally {
    chart.dispose();
  }
}
