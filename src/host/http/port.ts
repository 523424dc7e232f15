/**
 * One GET of an http or https URL, with redirects followed as far as ten. Throws CodedError: InvalidArgument (no such URL),
 * DeadlineExceeded, ResourceExhausted (the body is larger than `maxBytes`), Unavailable.
 */
export interface HttpGet {
  get(
    url: string,
    options: {
      readonly headers: Readonly<Record<string, readonly string[]>>;
      readonly timeoutMs: number;
      readonly maxBytes: number;
      readonly signal?: AbortSignal;
    },
  ): Promise<{ readonly status: number; readonly statusText: string; readonly body: Buffer }>;
}
