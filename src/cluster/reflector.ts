import type { ErrorCode } from '../kit/errors.ts';

/**
 * Where one list-and-watch stands. `failures` counts failures in a row; the first sign of health sets it to 0.
 *
 * - empty: nothing usable is held (start, or the history was lost: 410). Next: the first page of a list.
 * - listing: some pages are there. Next: the page of this token.
 * - watching: a complete list stands, current to `resourceVersion`. Next: a watch from there.
 */
export type ReflectorState =
  | { readonly at: 'empty'; readonly failures: number; readonly expiredLists: number }
  | {
      readonly at: 'listing';
      readonly failures: number;
      readonly expiredLists: number;
      readonly continueToken: string;
    }
  | {
      readonly at: 'watching';
      readonly failures: number;
      readonly resourceVersion: string;
      /** Something came on the present stream. */
      readonly heard: boolean;
    };

export type ReflectorInput =
  /** A page of the list; the last one has no token. */
  | { readonly type: 'page'; readonly resourceVersion: string; readonly continueToken: string | undefined }
  /** An object or a bookmark on the watch. */
  | { readonly type: 'event'; readonly resourceVersion: string }
  /** The server closed the stream as it should. */
  | { readonly type: 'ended'; readonly lastedMs: number }
  | { readonly type: 'failed'; readonly code: ErrorCode; readonly reason?: string | undefined };

export type ReflectorStep =
  /** `continueToken` undefined: from the start, and what was staged is void. `paged` false: all at once. */
  | { readonly do: 'list'; readonly continueToken: string | undefined; readonly paged: boolean; readonly wait: boolean }
  | { readonly do: 'watch'; readonly resourceVersion: string; readonly wait: boolean };

export const reflectorStart: ReflectorState = { at: 'empty', failures: 0, expiredLists: 0 };

/** A list whose pages outlive the server's history this often is asked for in one piece (client-go tools/pager). */
const MOST_EXPIRED_LISTS = 1;
/** A stream that ends sooner without a word counts as a failure (client-go: "very short watch"). */
const SHORT_WATCH_MS = 1000;
/** Failures that pass without making the position in the history doubtful. */
const PASSING: readonly ErrorCode[] = [
  'Unavailable',
  'DeadlineExceeded',
  'TooManyRequests',
  'Unauthorized',
  'Forbidden',
  'Aborted',
];

export function afterInput(state: ReflectorState, input: ReflectorInput): ReflectorState {
  switch (input.type) {
    case 'page': {
      if (state.at === 'watching') return state;
      const { continueToken, resourceVersion } = input;
      if (continueToken === undefined || continueToken === '') {
        // Failures go on being counted until the watch is heard: list → 410 → list must slow down, too.
        return { at: 'watching', failures: state.failures, resourceVersion, heard: false };
      }
      return { at: 'listing', failures: 0, expiredLists: state.expiredLists, continueToken };
    }
    case 'event':
      if (state.at !== 'watching') return state;
      return { at: 'watching', failures: 0, resourceVersion: input.resourceVersion, heard: true };
    case 'ended': {
      if (state.at !== 'watching') return state;
      const healthy = state.heard || input.lastedMs >= SHORT_WATCH_MS;
      return { ...state, failures: healthy ? 0 : state.failures + 1, heard: false };
    }
    case 'failed':
      return afterFailure(state, input.code, input.reason);
  }
}

/** What to do in a state. `wait`: first wait for `retryDelay(failures)`. */
export function nextStep(state: ReflectorState): ReflectorStep {
  const wait = state.failures > 0;
  switch (state.at) {
    case 'empty':
      return { do: 'list', continueToken: undefined, paged: state.expiredLists < MOST_EXPIRED_LISTS, wait };
    case 'listing':
      return { do: 'list', continueToken: state.continueToken, paged: true, wait };
    case 'watching':
      return { do: 'watch', resourceVersion: state.resourceVersion, wait };
  }
}

/**
 * Milliseconds: 200 doubled up to `mostMs`, of which a random half (`random` is 0..1), but never less than `atLeastMs`.
 * A server that is not there is not burdened by who looks for it: then 5 s is the most, so that a node is back soon
 * after it; one that answers with errors is given 30 s.
 */
export function retryDelay(failures: number, random: number, atLeastMs = 0, mostMs = 30_000): number {
  const full = Math.min(200 * 2 ** Math.min(failures - 1, 20), mostMs);
  return Math.max(atLeastMs, full / 2 + (full / 2) * random);
}

function afterFailure(state: ReflectorState, code: ErrorCode, reason: string | undefined): ReflectorState {
  const failures = state.failures + 1;
  switch (state.at) {
    case 'empty':
      return { ...state, failures };
    case 'listing':
      if (code === 'Gone') return { at: 'empty', failures, expiredLists: state.expiredLists + 1 };
      if (!PASSING.includes(code)) return { at: 'empty', failures, expiredLists: state.expiredLists };
      return { ...state, failures };
    case 'watching':
      // Reason Timeout: a version from the future, that is, a server restored from an older copy.
      if (!PASSING.includes(code) || reason === 'Timeout') return { at: 'empty', failures, expiredLists: 0 };
      return { ...state, failures, heard: false };
  }
}
