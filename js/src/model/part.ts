// A part of the front end that may not be there yet.

export interface Part<T> {
  /** It, once it is there. */
  readonly now: T | null;
  /** Why it did not come, in words; empty unless that is so. */
  readonly trouble: string;
  /** Have it come, or try again. */
  want(): void;
  /** Calls `listener` when it is there, or when it did not come, until `signal` fires. */
  subscribe(listener: () => void, signal: AbortSignal): void;
}

/** A part that is there already. */
export function present<T>(value: T): Part<T> {
  return { now: value, trouble: "", want: () => undefined, subscribe: () => undefined };
}
