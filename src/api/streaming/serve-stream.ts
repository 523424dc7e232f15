import type { IncomingMessage } from 'node:http';
import { pipeline } from 'node:stream/promises';
import type { CriRuntime } from '../../host/cri/port.ts';
import type { Clock } from '../../kit/clock.ts';
import { CodedError, type ErrorCode, messageOf } from '../../kit/errors.ts';
import { joinStreams, tieStreams } from '../../kit/join-streams.ts';
import type { Pod } from '../../model/pod.ts';
import type { NodePods, PodInRuntime, RuntimeView } from '../port.ts';
import { type Exchange, sendText } from '../router.ts';
import { dialRuntime, onwardHeaders } from './dial-runtime.ts';
import { parsePorts, parseStreamOptions, type StreamOptions } from './stream-options.ts';
import { translateExec } from './translate-exec.ts';
import { translateTunnel } from './translate-tunnel.ts';
import { acceptance, offeredProtocols } from './websocket.ts';

export interface ServeStreamDeps {
  readonly pods: NodePods;
  readonly runtime: RuntimeView;
  readonly cri: Pick<CriRuntime, 'exec' | 'attach' | 'portForward' | 'execSync'>;
  readonly clock: Pick<Clock, 'after'>;
  /** A stream in which nothing moves for this long, in milliseconds, is ended. 0: never. */
  readonly idleMs: number;
}

const V5 = 'v5.channel.k8s.io';
const PORT_FORWARD = 'portforward.k8s.io';
const TUNNEL = `SPDY/3.1+${PORT_FORWARD}`;
/** What a streaming request that the runtime refuses is answered with (cri-streaming errors.go WriteError). */
const STATUS: Partial<Record<ErrorCode, number>> = { NotFound: 404, ResourceExhausted: 429, InvalidArgument: 400 };

/** /exec/{namespace}/{pod}[/{uid}]/{container} */
export async function serveExec(exchange: Exchange, deps: ServeStreamDeps): Promise<void> {
  const found = findPod(exchange, deps);
  if (found === undefined) return;
  const options = parseStreamOptions(exchange.query);
  if (options === undefined) return refuseStreams(exchange);
  const command = exchange.query.getAll('command');
  await stream(exchange, deps, options, () => {
    const containerId = runningContainer(found, exchange);
    return deps.cri.exec({ containerId, command, ...options });
  });
}

/** /attach/{namespace}/{pod}[/{uid}]/{container} */
export async function serveAttach(exchange: Exchange, deps: ServeStreamDeps): Promise<void> {
  const found = findPod(exchange, deps);
  if (found === undefined) return;
  const asked = parseStreamOptions(exchange.query);
  if (asked === undefined) return refuseStreams(exchange);
  // Whether a container has a terminal was decided when it was made.
  const { containers, initContainers = [], ephemeralContainers = [] } = found.pod.spec;
  const { container = '' } = exchange.parameters;
  const spec = [...containers, ...initContainers, ...ephemeralContainers].find(({ name }) => name === container);
  const tty = spec?.tty === true;
  const options = { ...asked, tty, stderr: asked.stderr && !tty };
  await stream(exchange, deps, options, () =>
    deps.cri.attach({ containerId: runningContainer(found, exchange), ...options }),
  );
}

/** /portForward/{namespace}/{pod}[/{uid}] */
export async function servePortForward(exchange: Exchange, deps: ServeStreamDeps): Promise<void> {
  const { request, response, query, upgrade } = exchange;
  const found = findPod(exchange, deps);
  if (found === undefined) return;
  const offered = offeredProtocols(request.headers);
  const tunnel = offered?.includes(TUNNEL) === true;
  // SPDY names the ports in its streams, WebSocket in the URL.
  const ports = offered === undefined || tunnel ? [] : parsePorts(query);
  if (typeof ports === 'string') return sendText(response, 400, ports);
  const sandbox = found.runtime?.sandboxes.find(({ state }) => state === 'READY');
  await attempt(exchange, async () => {
    if (sandbox === undefined) {
      const { namespace = '', pod = '' } = exchange.parameters;
      throw new CodedError('Internal', `pod not found (${JSON.stringify(`${pod}_${namespace}`)})`);
    }
    const url = await deps.cri.portForward(sandbox.id, ports);
    if (!tunnel || upgrade === undefined) return await passOn(exchange, url, deps);
    const dialed = await dialSpdy(url, PORT_FORWARD);
    if ('refused' in dialed) return await relay(exchange, dialed.refused);
    accept(exchange, TUNNEL);
    tieStreams(upgrade.socket, dialed.socket, deps.idleMs);
    translateTunnel(upgrade, dialed);
  });
}

/** POST /run/{namespace}/{pod}[/{uid}]/{container}?cmd=: the command's output. */
export async function serveRun(exchange: Exchange, deps: ServeStreamDeps): Promise<void> {
  const { response, query } = exchange;
  const found = findPod(exchange, deps);
  if (found === undefined) return;
  const command = (query.get('cmd') ?? '').split(' ');
  try {
    const { stdout, stderr, exitCode } = await deps.cri.execSync(runningContainer(found, exchange), command, 0);
    if (exitCode !== 0) {
      const text = `command '${command.join(' ')}' exited with ${exitCode}: ${stderr.toString()}`;
      return sendText(response, 500, text);
    }
    response.writeHead(200, { 'content-type': 'application/json' });
    response.end(Buffer.concat([stdout, stderr]));
  } catch (error) {
    sendText(response, 500, messageOf(error));
  }
}

interface Found {
  readonly pod: Pod;
  readonly runtime: PodInRuntime | undefined;
}

function findPod({ parameters, response }: Exchange, { pods, runtime }: ServeStreamDeps): Found | undefined {
  const { namespace = '', pod: name = '', uid } = parameters;
  const pod = pods.find(namespace, name, uid);
  if (pod !== undefined) return { pod, runtime: runtime.get(pod.metadata.uid ?? '') };
  sendText(response, 404, 'pod does not exist');
  return undefined;
}

function runningContainer({ runtime }: Found, { parameters }: Exchange): string {
  const { container: name = '' } = parameters;
  const container = runtime?.containers.find((one) => one.name === name && one.state === 'RUNNING');
  if (container === undefined) throw new CodedError('Internal', `container not found (${JSON.stringify(name)})`);
  return container.id;
}

function refuseStreams({ response }: Exchange): void {
  sendText(response, 400, 'you must specify at least 1 of stdin, stdout, stderr');
}

async function stream(
  exchange: Exchange,
  deps: ServeStreamDeps,
  options: StreamOptions,
  urlOf: () => Promise<string>,
): Promise<void> {
  await attempt(exchange, async () => {
    const url = await urlOf();
    const { request, upgrade } = exchange;
    const translated = offeredProtocols(request.headers)?.includes(V5) === true;
    if (!translated || upgrade === undefined) return await passOn(exchange, url, deps);
    const dialed = await dialSpdy(url, 'v4.channel.k8s.io');
    if ('refused' in dialed) return await relay(exchange, dialed.refused);
    accept(exchange, V5);
    tieStreams(upgrade.socket, dialed.socket, deps.idleMs);
    translateExec(upgrade, dialed, options);
  });
}

async function attempt({ response }: Exchange, run: () => Promise<void>): Promise<void> {
  try {
    await run();
  } catch (error) {
    if (response.headersSent) response.destroy();
    else sendText(response, error instanceof CodedError ? (STATUS[error.code] ?? 500) : 500, messageOf(error));
  }
}

/** The caller's request and what follows it, byte by byte. */
async function passOn(exchange: Exchange, url: string, deps: ServeStreamDeps): Promise<void> {
  const { request, upgrade } = exchange;
  if (upgrade === undefined) return sendText(exchange.response, 500, 'Upgrade request required');
  const dialed = await dialRuntime(url, request.method ?? 'GET', onwardHeaders(request.rawHeaders));
  if ('refused' in dialed) return await relay(exchange, dialed.refused);
  const { answer, socket, head } = dialed;
  const caller = upgrade.take();
  caller.write(headOf(answer.rawHeaders));
  if (head.length > 0) caller.write(head);
  if (upgrade.head.length > 0) socket.write(upgrade.head);
  await joinStreams(caller, socket, deps.idleMs, deps.clock);
}

function dialSpdy(url: string, protocol: string): ReturnType<typeof dialRuntime> {
  return dialRuntime(url, 'POST', [
    'Connection',
    'Upgrade',
    'Upgrade',
    'SPDY/3.1',
    'X-Stream-Protocol-Version',
    protocol,
    'Content-Length',
    '0',
  ]);
}

function accept({ request, upgrade }: Exchange, protocol: string): void {
  upgrade?.take().write(acceptance(request.headers['sec-websocket-key'] ?? '', protocol));
}

/** Not upgraded: the runtime's own words. The connection ends with them, so that nothing can be asked of it behind them. */
async function relay({ response }: Exchange, refused: IncomingMessage): Promise<void> {
  const type = refused.headers['content-type'] ?? 'text/plain; charset=utf-8';
  response.writeHead(refused.statusCode ?? 502, { 'content-type': type, connection: 'close' });
  await pipeline(refused, response);
}

function headOf(rawHeaders: readonly string[]): string {
  let text = 'HTTP/1.1 101 Switching Protocols\r\n';
  for (let at = 0; at + 1 < rawHeaders.length; at += 2) text += `${rawHeaders[at]}: ${rawHeaders[at + 1]}\r\n`;
  return `${text}\r\n`;
}
