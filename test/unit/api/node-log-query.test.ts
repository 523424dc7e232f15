import { once } from 'node:events';
import { createServer, request, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { gunzipSync } from 'node:zlib';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { parseNodeLogQuery } from '../../../src/api/node-info/node-log-query.ts';
import { serveNodeLogQuery } from '../../../src/api/node-info/serve-node-log-query.ts';
import { Router } from '../../../src/api/router.ts';
import { FakeFiles } from '../../../src/host/files/fake.ts';
import { FakeJournal } from '../../../src/host/journal/fake.ts';
import { FakeLogFiles } from '../../../src/host/log-file/fake.ts';
import { silent } from '../../../src/kit/log.ts';
import { ManualClock } from '../../../src/kit/manual-clock.ts';

const parse = (text: string) => parseNodeLogQuery(new URLSearchParams(text));

describe('a query of the logs of a node', () => {
  it.each([
    ['', undefined],
    ['unknown=true', undefined],
    ['sinceTime=', undefined],
    ['query=foo', { services: ['foo'], files: [], options: {} }],
    ['query=foo&query=bar', { services: ['foo', 'bar'], files: [], options: {} }],
    ['query=/foo', { services: [], files: ['/foo'], options: {} }],
    ['query=%5Cbar', { services: [], files: ['\\bar'], options: {} }],
    ['query=a&boot=0&tailLines=100', { services: ['a'], files: [], options: { boot: 0, lines: 100 } }],
    ['query=a&boot=-23&pattern=foo', { services: ['a'], files: [], options: { boot: -23, pattern: 'foo' } }],
    [
      'query=a&sinceTime=2019-12-04T02:00:00Z&untilTime=2019-12-04T02:00:00.5%2B01:00',
      { status: 406, message: 'untilTime: Invalid value: "2019-12-04T02:00:00.5+01:00": must be after `sinceTime`' },
    ],
    [
      'query=a&sinceTime=2019-12-04T02:00:00Z',
      { services: ['a'], files: [], options: { sinceMs: Date.UTC(2019, 11, 4, 2) } },
    ],
    ['query=', { status: 400, message: 'query: Invalid value: [""]: query cannot be empty' }],
    ['query=+&query=++', { status: 400, message: 'query: Invalid value: [" ","  "]: query cannot be empty' }],
    [
      'query=a&sinceTime=2019-12-04+02:00:00',
      { status: 400, message: 'sinceTime: Invalid value: "2019-12-04 02:00:00": invalid time format' },
    ],
    [
      'query=a&boot=foo&tailLines=+',
      {
        status: 400,
        message:
          '[boot: Invalid value: "foo": strconv.Atoi: parsing "foo": invalid syntax, tailLines: Invalid value: " ": strconv.Atoi: parsing " ": invalid syntax]',
      },
    ],
    ['boot=0', { status: 406, message: 'query: Required value: cannot be empty with options' }],
    ['query=a&boot=1', { status: 406, message: 'boot: Invalid value: 1: must be less than 1' }],
    [
      'query=a&tailLines=100001',
      { status: 406, message: 'tailLines: Invalid value: 100001: must be between 0 and 100000, inclusive' },
    ],
    [
      'query=a&tailLines=-1',
      { status: 406, message: 'tailLines: Invalid value: -1: must be between 0 and 100000, inclusive' },
    ],
    [
      'query=a&query=/b',
      { status: 406, message: 'query: Invalid value: "[/b], [a]": cannot specify a file and service' },
    ],
    [
      'query=/a&query=/b',
      { status: 406, message: 'query: Invalid value: ["/a","/b"]: cannot specify more than one file' },
    ],
    ['query=/a&pattern=x', { status: 406, message: 'query: Invalid value: ["/a"]: cannot specify file with options' }],
    ['query=a%20b', { status: 406, message: 'query: Invalid value: "a b": input contains unsupported characters' }],
    [
      `query=${'x'.repeat(257)}`,
      { status: 406, message: `query: Invalid value: "${'x'.repeat(257)}": length must be less than 256` },
    ],
    [
      'query=a&query=b&query=c&query=d&query=e',
      { status: 406, message: 'query: Too many: 5: must have at most 4 items' },
    ],
  ])('%s', (text, wanted) => {
    const parsed = parse(text);
    if (wanted === undefined) expect(parsed).toBeUndefined();
    else expect(parsed).toEqual('status' in wanted ? { refusal: wanted } : { query: wanted });
  });

  it.each([
    ['foo\\', 'trailing backslash at end of expression: ``'],
    ['a(b', 'missing closing ): `a(b`'],
    ['a)b', 'unexpected ): `a)b`'],
    ['[a', 'missing closing ]: `[a`'],
    ['*a', 'missing argument to repetition operator: `*`'],
    ['a|+', 'missing argument to repetition operator: `+`'],
    ['(?=a)', 'invalid or unsupported Perl syntax: `(?=`'],
  ])('refuses the pattern %s', (pattern, why) => {
    const refusal = {
      status: 406,
      message: `pattern: Invalid value: ${JSON.stringify(pattern)}: error parsing regexp: ${why}`,
    };
    expect(parse(`query=a&pattern=${encodeURIComponent(pattern)}`)).toEqual({ refusal });
  });

  it.each(['(?i)foo', '(?P<x>a+?)[]()]', 'a{2,3}|b', '[^]a]*\\)', '(a|b)*?', '[[:alpha:](]+', '^$', 'ä'])(
    'takes the pattern %s',
    (pattern) => expect(parse(`query=a&pattern=${encodeURIComponent(pattern)}`)).toHaveProperty('query'),
  );
});

describe('the logs of a node', () => {
  let server: Server;
  let journal: FakeJournal;
  let files: FakeFiles;
  let contents: FakeLogFiles;

  beforeEach(async () => {
    journal = new FakeJournal();
    files = new FakeFiles();
    contents = new FakeLogFiles();
    await files.makeDirectory('/var/log', 0o755);
    await files.makeDirectory('/etc', 0o755);
    const deps = { files, contents, directory: '/var/log', journal, clock: new ManualClock(), log: silent };
    const router = new Router().add('/logs/*', { GET: (exchange) => serveNodeLogQuery(exchange, deps) });
    server = createServer((incoming, response) => {
      const { pathname, searchParams } = new URL(incoming.url ?? '', 'http://a');
      const caller = { username: 'a', groups: [] };
      void router.handle({ request: incoming, response, caller, path: pathname, query: searchParams });
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    await put('/var/log/plain.log', 'a plain file\n');
    await put('/etc/shadow', 'secret\n');
  });
  afterEach(() => server.close());

  async function put(path: string, text: string): Promise<void> {
    await files.write(path, text, 0o644);
    contents.append(path, text);
  }

  async function get(path: string, headers: Record<string, string> = {}): Promise<{ status: number; body: string }> {
    const { port } = server.address() as AddressInfo;
    const sent = request({ port, host: '127.0.0.1', path, headers });
    sent.end();
    const [answer] = await once(sent, 'response');
    const parts: Buffer[] = [];
    for await (const chunk of answer) parts.push(chunk);
    const body = Buffer.concat(parts);
    const zipped = answer.headers['content-encoding'] === 'gzip';
    return { status: answer.statusCode, body: (zipped ? gunzipSync(body) : body).toString() };
  }

  it('come from the journal for services that write to it', async () => {
    journal.write('kubelet', 'first', 0);
    journal.write('kubelet', 'second', 1000);
    const all = await get('/logs/?query=kubelet');
    expect(all.body).toMatch(/kubelet\[1\]: first\n.*kubelet\[1\]: second\n$/);
    expect((await get('/logs/?query=kubelet&tailLines=1')).body).not.toContain('first');
    expect(await get('/logs/?query=kubelet', { 'accept-encoding': 'gzip' })).toEqual(all);
  });

  it('come from files for services that do not, wherever they are', async () => {
    await files.makeDirectory('/var/log/deep', 0o755);
    await put('/var/log/bare', 'bare\n');
    await put('/var/log/dotted.log', 'dotted\n');
    await put('/var/log/deep/deep.log', 'deep\n');
    journal.write('kubelet', 'in the journal', 0);
    for (const name of ['bare', 'dotted', 'deep']) {
      expect(await get(`/logs/?query=${name}`)).toEqual({ status: 200, body: `${name}\n` });
    }
    expect((await get('/logs/?query=bare&query=none&query=kubelet')).body).toMatch(
      /^bare\n\nlog not found for none\n.* in the journal\n$/,
    );
    expect((await get('/logs/?query=bare&query=kubelet&tailLines=3')).body).toBe(
      '\noptions present and query resolved to log files for [bare]\ntry without specifying options\n',
    );
  });

  it('are files by their names, too', async () => {
    for (const query of ['/plain.log', '%5Cplain.log', '/../plain.log'].slice(0, 2)) {
      expect(await get(`/logs/?query=${query}`)).toEqual({ status: 200, body: 'a plain file\n' });
    }
    expect(await get('/logs/plain.log')).toEqual({ status: 200, body: 'a plain file\n' });
    expect(await get('/logs/?query=/none.log')).toEqual({
      status: 406,
      body: 'query: Invalid value: ["/none.log"]: stat /var/log/none.log: no such file or directory\n',
    });
  });

  it('are never outside of /var/log', async () => {
    await files.symlink('/etc/shadow', '/var/log/out.log');
    await files.symlink('../../etc', '/var/log/far');
    for (const query of [
      '/../../etc/shadow',
      '..%2F..%2Fetc%2Fshadow',
      '/out.log',
      '/far/shadow',
      'out',
      'far',
      '..',
    ]) {
      const { body } = await get(`/logs/?query=${query}`);
      expect([query, body.includes('secret')]).toEqual([query, false]);
      expect([query, body]).toEqual([query, expect.stringMatching(/Invalid value|error getting log|log not found/)]);
    }
  });
});
