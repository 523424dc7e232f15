import type { Answer } from '../api/plain-server.ts';
import { CodedError } from '../kit/errors.ts';
import { formatIp, parseIp } from '../model/cidr.ts';
import type { Protocol } from '../model/pod.ts';
import { explanationText } from '../services/explain/explain-service.ts';
import type { Explained, Question, ServiceInspector } from '../services/explain/service-inspector.ts';

/** "10.96.0.10:53/udp", "[fd00::1]:80"; TCP unless it says otherwise. Throws InvalidArgument. */
export function destinationOf(text: string): NonNullable<Question['to']> {
  const [, six, four, port = '', protocol = 'tcp'] =
    /^(?:\[([^\]]+)\]|([^:/]+)):(\d+)(?:\/(tcp|udp|sctp))?$/i.exec(text) ?? [];
  const ip = parseIp(six ?? four ?? '');
  if (ip === undefined || Number(port) < 1 || Number(port) > 65_535) {
    throw new CodedError(
      'InvalidArgument',
      `--to is ${JSON.stringify(text)}; expected ADDRESS:PORT[/udp|/sctp], such as 10.96.0.10:53/udp or [fd00::1]:80`,
    );
  }
  return { address: formatIp(ip), port: Number(port), protocol: protocol.toUpperCase() as Protocol };
}

/** `deckhand plan` and `deckhand explain` of this machine ask the running daemon, which knows what it believes. */
export async function answerInspection(
  path: string,
  query: URLSearchParams,
  inspector: ServiceInspector,
): Promise<Answer | undefined> {
  try {
    if (path === '/plan') return json(200, await inspector.plan());
    if (path === '/explain') return await explain(query, inspector);
    return undefined;
  } catch (error) {
    if (error instanceof CodedError && error.code === 'InvalidArgument') return json(400, { message: error.message });
    throw error;
  }
}

async function explain(query: URLSearchParams, inspector: ServiceInspector): Promise<Answer> {
  const service = query.get('service') ?? '';
  const [from, to] = [query.get('from'), query.get('to')];
  const ip = from === null ? undefined : parseIp(from);
  if (from !== null && ip === undefined) {
    throw new CodedError('InvalidArgument', `--from is ${JSON.stringify(from)}; expected an IP address`);
  }
  const explained = await inspector.explain(service, {
    ...(ip === undefined ? {} : { from: formatIp(ip) }),
    ...(to === null ? {} : { to: destinationOf(to) }),
  });
  if (explained.length === 0) return json(404, { message: `there is no Service ${service}` });
  if (query.get('output') === 'json') return json(200, explained);
  return { status: 200, type: 'text/plain; charset=utf-8', body: `${explained.map(wordsOf).join('\n')}\n` };
}

function wordsOf(one: Explained): string {
  const lines = [explanationText(one)];
  if (one.setAside !== undefined) lines.push(`  the kernel refuses its rules: ${one.setAside}`);
  if (one.unwritten.length === 0) lines.push('  the kernel holds these rules');
  else
    lines.push(
      '  the kernel does not hold all of this; it lacks, or has too much:',
      ...one.unwritten.map((line) => `    ${line}`),
    );
  return lines.join('\n');
}

function json(status: number, value: unknown): Answer {
  return { status, type: 'application/json', body: `${JSON.stringify(value)}\n` };
}
