import type { HttpGet } from '../../host/http/port.ts';
import type { Clock } from '../../kit/clock.ts';
import { CodedError, messageOf } from '../../kit/errors.ts';
import type { Logger } from '../../kit/log.ts';
import type { Pod } from '../../model/pod.ts';
import type { ManifestDecoder } from './port.ts';
import { staticPod } from './static-pod.ts';

export interface UrlSourceOptions {
  /** KubeletConfiguration staticPodURL and staticPodURLHeader. */
  readonly url: string;
  readonly headers: Readonly<Record<string, readonly string[]>>;
  readonly nodeName: string;
  /** Between two questions, milliseconds (httpCheckFrequency, 20 s). */
  readonly checkMs: number;
}

export interface UrlSourceDeps {
  readonly http: HttpGet;
  readonly decoder: ManifestDecoder;
  readonly clock: Clock;
  readonly log: Logger;
  /** All pods of this source, each time any of them may have changed. */
  readonly report: (pods: readonly Pod[]) => void;
}

/** kubelet's maxConfigLength, and its client's deadline. */
const MAX_BYTES = 10 * 1024 * 1024;
const TIMEOUT_MS = 10_000;
/** So many failures in a row are logged as errors, the next one says that it gets quiet. */
const LOUD_FAILURES = 3;

/**
 * Static pods from a URL: a Pod or a PodList (pkg/kubelet/config/http.go). All or none of them count: one bad pod leaves
 * all as they were, an answer without content means that there are none.
 */
export class UrlSource {
  private readonly options: UrlSourceOptions;
  private readonly deps: UrlSourceDeps;
  private last: string | undefined;
  private failures = 0;

  constructor(options: UrlSourceOptions, deps: UrlSourceDeps) {
    this.options = options;
    this.deps = deps;
  }

  async run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      await this.look(signal);
      await this.deps.clock.sleep(this.options.checkMs, signal).catch(() => {});
    }
  }

  /** Asks once. */
  async look(signal?: AbortSignal): Promise<void> {
    const { log } = this.deps;
    const { url } = this.options;
    try {
      await this.read(signal);
      if (this.failures > 0) log.info({ url }, 'static pods can be read from the URL again');
      this.failures = 0;
    } catch (error) {
      if (signal?.aborted === true) return;
      const fields = { url, error: messageOf(error) };
      if (this.failures < LOUD_FAILURES) log.error(fields, 'static pods cannot be read from the URL');
      else if (this.failures === LOUD_FAILURES) {
        log.error(
          fields,
          'static pods still cannot be read from the URL; this is only said at debug level from now on',
        );
      } else log.debug(fields, 'static pods cannot be read from the URL');
      this.failures++;
    }
  }

  private async read(signal: AbortSignal | undefined): Promise<void> {
    const { http, decoder, clock, log, report } = this.deps;
    const { url, headers, nodeName } = this.options;
    const answer = await http.get(url, {
      headers,
      timeoutMs: TIMEOUT_MS,
      maxBytes: MAX_BYTES,
      ...(signal === undefined ? {} : { signal }),
    });
    if (answer.status !== 200) {
      throw new CodedError('Unavailable', `${url}: ${answer.status} ${answer.statusText}`.trim());
    }
    const text = answer.body.toString();
    if (text === '') {
      this.last = undefined;
      report([]);
      throw new CodedError('InvalidObject', `zero-length data received from ${url}`);
    }
    // A mistake that has not changed is not told again.
    if (text === this.last) return;
    this.last = text;
    const decoded = await decoder.decode(text, url, { lists: true });
    const facts = { nodeName, seenAt: clock.now() };
    const pods = decoded.map((one) => staticPod(one, { kind: 'http', url }, facts));
    for (const { warnings } of decoded) for (const warning of warnings) log.warn({ url }, warning);
    report(pods);
  }
}
