/** What of a container's log is asked for (core/v1 PodLogOptions). */
export interface LogOptions {
  readonly follow: boolean;
  readonly previous: boolean;
  readonly timestamps: boolean;
  /** undefined: all. */
  readonly tailLines: number | undefined;
  readonly limitBytes: number | undefined;
  /** Lines from before it are left out; milliseconds since the epoch. */
  readonly sinceMs: number | undefined;
  /** undefined: both. */
  readonly stream: 'stdout' | 'stderr' | undefined;
}

/** What is wrong with a query, as kubelet's server.go says it. */
export interface LogOptionsError {
  readonly status: number;
  readonly message: string;
}

const UNREADABLE: LogOptionsError = { status: 400, message: '{"message": "Unable to decode query."}' };
const INVALID: LogOptionsError = { status: 422, message: '{"message": "Invalid request."}' };
const TIME = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d)$/;

/** `split`: one of the two streams may be asked for (feature gate PodLogsQuerySplitStreams). */
export function parseLogOptions(
  query: URLSearchParams,
  now: number,
  split: boolean,
): { readonly options: LogOptions } | { readonly error: LogOptionsError } {
  const tail = query.get('tail') ?? '';
  const texts = {
    tailLines: tail === '' ? query.get('tailLines') : tail === 'all' ? null : tail,
    limitBytes: query.get('limitBytes'),
    sinceSeconds: query.get('sinceSeconds'),
    sinceTime: query.get('sinceTime') || null,
  };
  for (const name of ['tailLines', 'limitBytes', 'sinceSeconds'] as const) {
    if (texts[name] !== null && !/^[+-]?\d{1,18}$/.test(texts[name] ?? '')) return { error: UNREADABLE };
  }
  if (texts.sinceTime !== null && !(TIME.test(texts.sinceTime) && !Number.isNaN(Date.parse(texts.sinceTime)))) {
    return { error: UNREADABLE };
  }
  const number = (text: string | null): number | undefined => (text === null ? undefined : Number(text));
  const tailLines = number(texts.tailLines);
  const limitBytes = number(texts.limitBytes);
  const seconds = number(texts.sinceSeconds);
  const wanted = query.get('stream') ?? '';
  const known = ['', 'All', 'Stdout', 'Stderr'].includes(wanted);
  if (
    (tailLines ?? 0) < 0 ||
    (limitBytes ?? 1) < 1 ||
    (seconds ?? 1) < 1 ||
    (seconds !== undefined && texts.sinceTime !== null) ||
    !known ||
    (tailLines !== undefined && (wanted === 'Stdout' || wanted === 'Stderr'))
  ) {
    return { error: INVALID };
  }
  const stream = wanted === 'Stdout' ? 'stdout' : wanted === 'Stderr' ? 'stderr' : undefined;
  if (stream !== undefined && !split) {
    const message = `unable to return the given log stream: ${JSON.stringify(wanted)}. Please enable PodLogsQuerySplitStreams feature gate in kubelet`;
    return { error: { status: 400, message } };
  }
  const sinceMs =
    seconds !== undefined ? now - seconds * 1000 : texts.sinceTime === null ? undefined : Date.parse(texts.sinceTime);
  const flag = (name: string): boolean => isTrue(query.get(name));
  return {
    options: {
      follow: flag('follow'),
      previous: flag('previous'),
      timestamps: flag('timestamps'),
      tailLines,
      limitBytes,
      sinceMs,
      stream,
    },
  };
}

/** apimachinery Convert_Slice_string_To_bool: what is there and not said to be false is true. */
export function isTrue(value: string | null): boolean {
  return value !== null && value !== '0' && value.toLowerCase() !== 'false';
}
