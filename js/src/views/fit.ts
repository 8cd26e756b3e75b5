// Where a view stands first, and what it must not lose: cameras worked out from places. Pure.
import { worst } from "../model/derive.ts";
import { STATUS_COUNT, type Store } from "../model/store.ts";
import { Status } from "../protocol.ts";
import { type Box, boundsOf, fitScale, type Places } from "../render/place.ts";
import { type Camera, fitCamera, hasStrips, leastZoom } from "../render/scene.ts";

export const FRAME_MARGIN = 24;
/** The zoom buttons and the minimap stand over the lower edge. */
const BELOW = 48;
const MOST_FRONT = 300;

export interface View {
  store: Store;
  places: Places;
  width: number;
  height: number;
}

export function wholeCamera({ places, width, height }: Omit<View, "store">): Camera {
  return fitCamera(places.bounds, width, height, FRAME_MARGIN, 1);
}

/**
 * The whole if its marks can be told apart (strips always: that is what they are for), else what matters now: failed and
 * running marks with their neighbours, else the beginning.
 */
export function firstCamera(view: View): Camera {
  const { store, places, width, height } = view;
  const whole = wholeCamera(view);
  const least = leastZoom("chip");
  if (whole.k >= leastZoom(hasStrips(store) ? "pill" : "chip")) return whole;
  const front = frontier(view);
  const box = front.length > 0 ? boundsOf(places, front) : places.bounds;
  const near = fitCamera(box, width, height, FRAME_MARGIN, 1);
  const camera = near.k >= least ? near : corner(view, box, Math.max(least, Math.min(1, bandScale(view, box))));
  return withoutEmptySides(view, camera);
}

/** Zoom at which the narrow side of a long graph fits. */
function bandScale({ width, height }: View, box: Box): number {
  const isWide = box.width / width > box.height / height;
  const narrow = isWide ? { ...box, width: 1 } : { ...box, height: 1 };
  return fitScale(narrow, width - 2 * FRAME_MARGIN, height - 2 * FRAME_MARGIN);
}

/** No empty side while there is something beyond the other one. */
function withoutEmptySides({ places, width, height }: View, { x, y, k }: Camera): Camera {
  const all = places.bounds;
  const margin = FRAME_MARGIN / k;
  const settle = (at: number, room: number, from: number, size: number): number =>
    size + 2 * margin <= room
      ? from + size / 2 - room / 2
      : Math.max(from - margin, Math.min(from + size + margin - room, at));
  return { k, x: settle(x, width / k, all.x, all.width), y: settle(y, height / k, all.y, all.height) };
}

function corner({ width, height }: View, box: Box, k: number): Camera {
  const isHigh = box.height * k > height - 2 * FRAME_MARGIN;
  const isWide = box.width * k > width - 2 * FRAME_MARGIN;
  const x = isWide ? box.x - FRAME_MARGIN / k : box.x + box.width / 2 - width / 2 / k;
  const y = isHigh ? box.y - FRAME_MARGIN / k : box.y + box.height / 2 - height / 2 / k;
  return { x, y, k };
}

/** Failed marks, running ones, then the neighbours of both: as many as are seen as chips together. */
function frontier({ store, places, width, height }: View): number[] {
  const edges = store.picture?.edges;
  if (!edges) return [];
  const isHidden = (mark: number): boolean => places.shown?.has(mark) === false;
  const withStatus = (status: number): number[] =>
    Array.from({ length: store.markCount }, (_, mark) => mark).filter(
      (mark) => !isHidden(mark) && worst(store.markCounts, mark * STATUS_COUNT) === status,
    );
  const urgent = [...withStatus(Status.FAILED), ...withStatus(Status.RUNNING)];
  const all = new Set(urgent);
  edges.source.forEach((source, edge) => {
    const target = edges.target[edge] ?? 0;
    if (all.has(source) === all.has(target) || isHidden(source) || isHidden(target)) return;
    urgent.push(all.has(source) ? target : source);
  });
  const least = leastZoom("chip");
  const chosen: number[] = [];
  for (const mark of new Set(urgent)) {
    if (chosen.length >= MOST_FRONT) break;
    const box = boundsOf(places, [...chosen, mark]);
    if (chosen.length === 0 || fitCamera(box, width, height, FRAME_MARGIN, 1).k >= least) chosen.push(mark);
  }
  return chosen;
}

/** The camera that shows a box, moved no further than it must be and zoomed in to `k` at least. */
export function cameraFor(
  { width, height }: Omit<View, "store" | "places">,
  camera: Camera,
  box: Box,
  k: number,
): Camera {
  const shift = (from: number, size: number, start: number, room: number, after = FRAME_MARGIN): number => {
    const low = (from - start) * k - FRAME_MARGIN;
    const high = (from + size - start) * k + after - room;
    return low < 0 ? low / k : high > 0 ? Math.min(high, low) / k : 0;
  };
  if (k !== camera.k)
    return { k, x: box.x + box.width / 2 - width / 2 / k, y: box.y + box.height / 2 - height / 2 / k };
  const x = camera.x + shift(box.x, box.width, camera.x, width);
  return { k, x, y: camera.y + shift(box.y, box.height, camera.y, height, BELOW) };
}

/** The camera on the way from one to another: what is in the middle stays there. */
export function between(from: Camera, to: Camera, share: number): Camera {
  const k = from.k * (to.k / from.k) ** share;
  const along = Math.abs(to.k - from.k) < 1e-9 ? share : (1 / from.k - 1 / k) / (1 / from.k - 1 / to.k);
  return { k, x: from.x + (to.x - from.x) * along, y: from.y + (to.y - from.y) * along };
}
