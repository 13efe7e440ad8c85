import { useSignal } from '@preact/signals';
import { useEffect, useRef } from 'preact/hooks';
import { Dialog } from './Dialog.js';
import { urlOf } from './objectUrl.js';
import type { SourceImage } from './records.js';

interface Props {
  readonly source: SourceImage;
  /** @param mask a PNG that is transparent where painted; null: nothing is painted; undefined: cancelled */
  readonly onEnd: (mask: Blob | null | undefined) => void;
}

interface Point {
  readonly x: number;
  readonly y: number;
}

/** Shares of the longer side. */
const BRUSH = { min: 0.01, max: 0.4, initial: 0.1 };
/** Seen on most images. */
const PAINT = '#ff3d8b';
/** An arrow key moves the brush by a share of its size. */
const KEY_STEP = 0.5;
const ARROWS: Readonly<Record<string, Point | undefined>> = {
  ArrowLeft: { x: -1, y: 0 },
  ArrowRight: { x: 1, y: 0 },
  ArrowUp: { x: 0, y: -1 },
  ArrowDown: { x: 0, y: 1 },
};

/** Paints over the part of an image that is to be repainted, by pointer or keyboard. The canvas has the paint alone. */
export function MaskEditor({ source, onEnd }: Props) {
  const { width, height, mask } = source;
  const canvas = useRef<HTMLCanvasElement>(null);
  const brush = useSignal(BRUSH.initial);
  const erases = useSignal(false);
  const cursor = useSignal<Point>({ x: width / 2, y: height / 2 });
  const last = useRef<Point | undefined>(undefined);
  const undo = useRef<ImageData[]>([]);
  const size = () => brush.value * Math.max(width, height);

  const context = () => {
    const found = canvas.current?.getContext('2d', { willReadFrequently: true });
    if (!found) throw new Error('this browser has no canvas');
    return found;
  };
  useEffect(() => {
    if (mask) void createImageBitmap(mask).then((bitmap) => paintTransparent(context(), bitmap));
  }, []);

  const remember = () => {
    undo.current.push(context().getImageData(0, 0, width, height));
    if (undo.current.length > 20) undo.current.shift();
  };
  const stroke = (from: Point, to: Point) => {
    const on = context();
    on.globalCompositeOperation = erases.value ? 'destination-out' : 'source-over';
    on.lineCap = 'round';
    on.lineWidth = size();
    on.strokeStyle = PAINT;
    on.beginPath();
    on.moveTo(from.x, from.y);
    on.lineTo(to.x, to.y);
    on.stroke();
  };
  const pointOf = (event: PointerEvent): Point => {
    const box = (event.currentTarget as HTMLElement).getBoundingClientRect();
    return {
      x: ((event.clientX - box.left) / box.width) * width,
      y: ((event.clientY - box.top) / box.height) * height,
    };
  };
  const whole = (operation: GlobalCompositeOperation) => {
    remember();
    const on = context();
    on.globalCompositeOperation = operation;
    on.fillStyle = PAINT;
    on.fillRect(0, 0, width, height);
  };
  const onKey = (event: KeyboardEvent) => {
    const direction = ARROWS[event.key];
    if (event.key === ' ') {
      remember();
      stroke(cursor.value, cursor.value);
    } else if (direction) {
      const step = KEY_STEP * size();
      const next = {
        x: Math.min(width, Math.max(0, cursor.value.x + direction.x * step)),
        y: Math.min(height, Math.max(0, cursor.value.y + direction.y * step)),
      };
      if (event.shiftKey) stroke(cursor.value, next);
      cursor.value = next;
    } else return;
    event.preventDefault();
  };

  return (
    <Dialog title="Paint what is to change" onClose={() => onEnd(undefined)}>
      <div class="editor" style={{ '--ratio': width / height }}>
        <img src={urlOf(source.file)} alt="" />
        <canvas
          ref={canvas}
          width={width}
          height={height}
          tabIndex={0}
          role="application"
          aria-label="Mask. Arrow keys move the brush, space paints, shift with an arrow key paints a line."
          onKeyDown={onKey}
          onPointerDown={(event) => {
            event.currentTarget.setPointerCapture(event.pointerId);
            remember();
            last.current = pointOf(event);
            stroke(last.current, last.current);
          }}
          onPointerMove={(event) => {
            const point = pointOf(event);
            cursor.value = point;
            if (!last.current) return;
            stroke(last.current, point);
            last.current = point;
          }}
          onPointerUp={() => (last.current = undefined)}
          onPointerCancel={() => (last.current = undefined)}
        />
        <span
          class="brush"
          style={{
            left: `${(100 * cursor.value.x) / width}%`,
            top: `${(100 * cursor.value.y) / height}%`,
            width: `${(100 * size()) / width}%`,
          }}
        />
      </div>
      <div class="tools">
        <label>
          Brush
          <input
            type="range"
            min={BRUSH.min}
            max={BRUSH.max}
            step={0.01}
            value={brush}
            onInput={(event) => (brush.value = event.currentTarget.valueAsNumber)}
          />
        </label>
        <button type="button" aria-pressed={erases.value} onClick={() => (erases.value = !erases.value)}>
          Erase
        </button>
        <button
          type="button"
          onClick={() => {
            const before = undo.current.pop();
            if (before) context().putImageData(before, 0, 0);
          }}
        >
          Undo
        </button>
        <button type="button" onClick={() => whole('destination-out')}>
          Clear
        </button>
        <button type="button" onClick={() => whole('xor')}>
          Invert
        </button>
        <button
          type="button"
          class="primary"
          onClick={() => void maskOf(context()).then(onEnd, () => onEnd(undefined))}
        >
          Use this mask
        </button>
      </div>
    </Dialog>
  );
}

/** Paints where a mask is transparent. */
function paintTransparent(on: CanvasRenderingContext2D, mask: ImageBitmap): void {
  on.globalCompositeOperation = 'source-over';
  on.drawImage(mask, 0, 0);
  on.globalCompositeOperation = 'xor';
  on.fillStyle = PAINT;
  on.fillRect(0, 0, on.canvas.width, on.canvas.height);
}

/** The mask that the server takes; null if nothing is painted. */
async function maskOf(painted: CanvasRenderingContext2D): Promise<Blob | null> {
  const { width, height } = painted.canvas;
  const { data } = painted.getImageData(0, 0, width, height);
  // Every fourth byte is the opacity.
  if (!data.some((value, i) => i % 4 === 3 && value > 0)) return null;
  const canvas = new OffscreenCanvas(width, height);
  const on = canvas.getContext('2d');
  on?.fillRect(0, 0, width, height);
  if (on) on.globalCompositeOperation = 'destination-out';
  on?.drawImage(painted.canvas, 0, 0);
  return canvas.convertToBlob({ type: 'image/png' });
}
