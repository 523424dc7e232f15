import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { StaticPodDecoder } from '../../../../src/daemon/static-pod-decoder.ts';
import { RealHttpGet } from '../../../../src/host/http/real.ts';
import { ManualClock } from '../../../../src/kit/manual-clock.ts';
import type { Pod } from '../../../../src/model/pod.ts';
import { UrlSource } from '../../../../src/pods/sources/url-source.ts';
import { collecting, manifest, NODE } from './support.ts';

describe('static pods from a URL', () => {
  let server: Server;
  let answer: { status?: number; body?: string | Buffer; location?: string };
  let asked: { readonly path: string; readonly headers: readonly string[] }[];
  let reports: (readonly Pod[])[];
  let told: ReturnType<typeof collecting>;
  let source: UrlSource;
  let url: string;

  beforeEach(async () => {
    answer = {};
    asked = [];
    reports = [];
    told = collecting();
    server = createServer((request, response) => {
      asked.push({ path: request.url ?? '', headers: request.rawHeaders });
      const { status = 200, body = '', location } = answer;
      if (location !== undefined && request.url === '/pods') {
        response.writeHead(302, { location }).end();
        return;
      }
      response.writeHead(status).end(body);
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/pods`;
    source = new UrlSource(
      { url, headers: { 'X-Key': ['one', 'two'] }, nodeName: NODE, checkMs: 20_000 },
      {
        http: new RealHttpGet(),
        decoder: new StaticPodDecoder(),
        clock: new ManualClock(),
        log: told.log,
        report: (pods) => reports.push(pods),
      },
    );
  });
  afterEach(() => new Promise<void>((resolve) => server.close(() => resolve())));

  const names = (): (string | undefined)[] | undefined => reports.at(-1)?.map(({ metadata }) => metadata.name);

  it('takes a Pod, and sends the headers', async () => {
    answer = { body: manifest('a') };
    await source.look();
    expect(names()).toEqual(['a-node-1']);
    const { headers } = asked[0] ?? { headers: [] };
    expect(headers.filter((_, index) => headers[index - 1] === 'X-Key')).toEqual(['one', 'two']);
  });

  it('takes a PodList in JSON', async () => {
    const item = (name: string): object => ({ metadata: { name }, spec: { containers: [{ name: 'c', image: 'x' }] } });
    answer = { body: JSON.stringify({ apiVersion: 'v1', kind: 'PodList', items: [item('a'), item('b')] }) };
    await source.look();
    expect(names()).toEqual(['a-node-1', 'b-node-1']);
  });

  it('reports nothing new while the answer stays the same', async () => {
    answer = { body: manifest('a') };
    await source.look();
    await source.look();
    expect(reports).toHaveLength(1);
  });

  it('has no pods any more when the answer has no content', async () => {
    answer = { body: manifest('a') };
    await source.look();
    answer = { body: '' };
    await source.look();
    expect(names()).toEqual([]);
    answer = { body: manifest('a') };
    await source.look();
    expect(names()).toEqual(['a-node-1']);
  });

  it.each<[string, typeof answer]>([
    ['an error', { status: 500, body: 'no' }],
    [
      'one bad pod of two',
      {
        body: JSON.stringify({
          apiVersion: 'v1',
          kind: 'PodList',
          items: [{ metadata: { name: 'a' }, spec: { containers: [] } }],
        }),
      },
    ],
    ['too much', { body: Buffer.alloc(10 * 1024 * 1024 + 1, 0x20) }],
  ])('keeps its pods on %s', async (_what, bad) => {
    answer = { body: manifest('a') };
    await source.look();
    answer = bad;
    await source.look();
    expect(reports).toHaveLength(1);
    expect(told.lines).toHaveLength(1);
  });

  it('gets quiet when it fails again and again, and says when it works again', async () => {
    answer = { status: 503 };
    for (let round = 0; round < 10; round++) await source.look();
    expect(told.lines.filter((line) => line.startsWith('error'))).toHaveLength(4);
    expect(told.lines.filter((line) => line.startsWith('debug'))).toHaveLength(6);
    answer = { body: manifest('a') };
    await source.look();
    expect(told.lines.at(-1)).toMatch(/^info .*can be read from the URL again/);
  });

  it('follows a redirect, and shows its headers to the same host only', async () => {
    answer = { body: manifest('a'), location: '/there' };
    await source.look();
    expect(asked.map(({ path }) => path)).toEqual(['/pods', '/there']);
    expect(asked[1]?.headers).toContain('X-Key');
    const { port } = new URL(url);
    answer = { body: manifest('b'), location: `http://localhost:${port}/elsewhere` };
    await source.look();
    expect(asked.at(-1)?.headers).not.toContain('X-Key');
    expect(names()).toEqual(['b-node-1']);
  });
});
