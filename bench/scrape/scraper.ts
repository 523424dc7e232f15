import { type ChildProcessByStdio, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import type { Readable, Writable } from 'node:stream';
import { inNetns } from '../../test/harness/netns.ts';

// One TLS connection, as Prometheus keeps it: a path on a line comes in, what came of it goes back.
const CHILD = `
import https from 'node:https';
import { createInterface } from 'node:readline';
const { CERT: cert, KEY: key } = process.env;
const agent = new https.Agent({ keepAlive: true, maxSockets: 1, cert, key, rejectUnauthorized: false });
for await (const path of createInterface({ input: process.stdin })) {
  const began = performance.now();
  await new Promise((resolve, reject) => {
    const request = https.get({ host: '127.0.0.1', port: 10250, path, agent }, (response) => {
      let bytes = 0;
      response.on('data', (chunk) => { bytes += chunk.length; });
      response.on('end', () => {
        process.stdout.write(JSON.stringify({ status: response.statusCode, bytes, ms: performance.now() - began }) + '\\n');
        resolve();
      });
    });
    request.on('error', reject);
  });
}
`;

export interface Scrape {
  readonly status: number;
  readonly bytes: number;
  /** From the request to the last byte. */
  readonly ms: number;
}

/** Scrapes from within the node's network namespace: what carries connections into it would be measured as well. */
export class Scraper {
  private readonly child: ChildProcessByStdio<Writable, Readable, null>;
  private readonly lines: NodeJS.AsyncIterator<string>;

  constructor(netns: string, tls: { readonly cert: Buffer; readonly key: Buffer }) {
    const [file = '', ...args] = inNetns(netns, [process.execPath, '--input-type=module', '--eval', CHILD]);
    const env = { ...process.env, CERT: tls.cert.toString(), KEY: tls.key.toString() };
    this.child = spawn(file, args, { stdio: ['pipe', 'pipe', 'inherit'], env });
    this.lines = createInterface({ input: this.child.stdout })[Symbol.asyncIterator]();
  }

  async scrape(path: string): Promise<Scrape> {
    this.child.stdin.write(`${path}\n`);
    const { value, done } = await this.lines.next();
    if (done === true) throw new Error(`the scraper ended at ${path}`);
    return JSON.parse(value) as Scrape;
  }

  async close(): Promise<void> {
    const exited = once(this.child, 'exit');
    this.child.stdin.end();
    await exited;
  }
}
