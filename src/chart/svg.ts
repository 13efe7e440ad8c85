import { init } from 'echarts';

/** Colours that stay apart for people who see few of them. Source: Okabe, Ito 2008. */
export const COLOURS = ['#0072b2', '#e69f00', '#009e73', '#cc79a7', '#56b4e9', '#d55e00', '#999999', '#f0e442'];

/** A chart as SVG. @param option as echarts has it @param size in pixels */
export function toSvg(option: object, size: { readonly width: number; readonly height: number }): string {
  const chart = init(null, null, { renderer: 'svg', ssr: true, ...size });
  try {
    chart.setOption({ animation: false, backgroundColor: '#ffffff', color: COLOURS, ...option });
    return chart.renderToSVGString();
  } finally {
    chart.dispose();
  }
}
